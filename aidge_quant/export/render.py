"""The Jinja2 environment of the C templates."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from aidge_quant.export import ctext
from aidge_quant.resources import template_root


@cache
def environment() -> jinja2.Environment:
    """Return an environment in which undefined names are errors and spaces are kept as written."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(template_root())),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    env.filters.update(c_array=ctext.c_array, thousands=ctext.thousands)
    return env


def render(env: jinja2.Environment, template: str, context: Mapping[str, Any]) -> str:
    """Return the text of one template, with one line feed at its end."""
    return env.get_template(template).render(context).rstrip("\n") + "\n"
