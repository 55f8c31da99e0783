// y[row] = epilogue(weights x[row] + bias), for many rows.

#import shared/linear
#import shared/store_rows
#import shared/matmul
