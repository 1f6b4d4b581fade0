"""What a comparison's figures say, in words: the rows they are judged by, what limits a run, what was published."""
