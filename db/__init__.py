"""What is remembered: tables, the append-only record, and the reads of the CLI and the auditor."""
