/* The tiles of an instruction set: AQ_EACH_TILE(X) expands X(rows, vectors) for all of them. */
#if defined(__clang__)
#define AQ_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define AQ_UNROLL _Pragma("GCC unroll 16")
#else
#define AQ_UNROLL
#endif

#define AQ_ROWS_4(X, V) X(1, V) X(2, V) X(3, V) X(4, V)
#define AQ_ROWS_6(X, V) AQ_ROWS_4(X, V) X(5, V) X(6, V)
#define AQ_ROWS_8(X, V) AQ_ROWS_6(X, V) X(7, V) X(8, V)
#define AQ_ROWS_12(X, V) AQ_ROWS_8(X, V) X(9, V) X(10, V) X(11, V) X(12, V)
