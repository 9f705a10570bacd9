//! What was measured, as people and machines read it.
