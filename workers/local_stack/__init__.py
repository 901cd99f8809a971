"""The stack of one machine: embedded broker and all processes."""
