"""k-means over all vectors: the same bytes for any number of processes, threads and blocks.

Three facts make it so, and none of them costs speed:

- Vectors lie on a grid (:mod:`.grid`), so sums of them in float64 have no rounding at all: in
  whatever order, on however many processes, a sum has one value.
- Rows are assigned in float32 by BLAS, and those that its proven error could decide otherwise are
  decided again in float64 (:mod:`.assignment`).
- Seeds are drawn by exact integers and a keyed hash of the content (:mod:`.seeding`).
"""
