"""The page of `taskodec demo`: a picture is dropped, tuned while one looks on, and compared at equal bytes."""
