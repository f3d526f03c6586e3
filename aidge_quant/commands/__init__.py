"""What the subcommands of ``aidge-quant`` do; the parser is in ``aidge_quant.cli``."""
