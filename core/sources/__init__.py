"""Where pictures come from and go to, as streams of names: folders at any depth, lists, URLs and tar archives."""
