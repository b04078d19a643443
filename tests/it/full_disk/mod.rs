//! A disk that takes no more: what is said and what is true, on real file systems, and at every size that a file may have.

mod errors;
mod every_size;
mod real;
