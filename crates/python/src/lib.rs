//! modnet._native
