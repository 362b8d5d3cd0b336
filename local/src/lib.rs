//! Greenroom's whole stack on one machine: the routes of `template.yaml`, the same handlers that run on Lambda, and
//! `DynamoDB`'s own client on an embedded engine.

pub mod access;
mod checkpoints;
pub mod client;
pub mod database;
pub mod engine;
pub mod figures;
pub mod gateway;
pub mod keys;
pub mod log;
pub mod objects;
pub mod patience;
pub mod private;
pub mod progress;
pub mod pump;
pub mod records;
pub mod restore;
pub mod runner;
pub mod schedule;
pub mod snapshots;
pub mod socket;
pub mod storage;
pub mod template;
mod tokens;
pub mod verify;
