//! Style and structure as tests: see `tests/`. Nothing to link against.
