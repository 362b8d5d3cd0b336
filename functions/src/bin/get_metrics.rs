//! The Lambda of the endpoint of the same name. Its figures are those of the stage, which no other binary can read.
use cloudwatch::{CloudWatch, Function};

fn main() -> Result<(), functions::Error> {
    functions::serve_with(functions::entries::get_metrics, |stage| {
        let functions = functions::described().into_iter().map(|(binary, route)| Function { binary, route });
        CloudWatch::from_env(stage, functions.collect())
    })
}
