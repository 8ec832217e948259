"""Stories that unmodified clients play, from ordering everything to tearing it down."""
