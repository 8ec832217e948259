"""What the operator sees and does: seed, status, doctor, explain, backup, down."""
