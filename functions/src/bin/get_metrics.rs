//! Written by `cargo xtask docs`. Its figures are those of the stage, which no other function reads.
use cloudwatch::{CloudWatch, Function};

fn main() -> Result<(), functions::Error> {
    functions::serve_with(functions::handlers::get_metrics, |stage| {
        let functions = functions::described().into_iter().map(|(binary, route)| Function { binary, route });
        CloudWatch::from_env(stage, functions.collect())
    })
}
