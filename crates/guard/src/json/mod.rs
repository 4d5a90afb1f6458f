//! Texts in JSON: walked once, read without their escapes, and changed where they stand.

mod view;
mod walk;

pub(crate) use view::View;
pub(crate) use walk::{Leaf, Step, Walk};
