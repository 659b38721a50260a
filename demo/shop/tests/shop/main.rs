//! The shop as programs and attackers see it.

#![recursion_limit = "256"] // what a router and a database are made of, one within the other

mod accounts;
mod hostile;
mod json;
mod pages;
mod support;
