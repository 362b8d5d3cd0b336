//! The Lambda of the endpoint of the same name. Its figures are those of the stage, which no other binary can read.
use cloudwatch::{CloudWatch, Function};

fn main() -> Result<(), functions::Error> {
    functions::serve_with(functions::entries::get_metrics, async |stage: &str| {
        let routes = functions::described().into_iter();
        CloudWatch::connect_from_env(stage, routes.map(|(binary, route)| Function { binary, route }).collect()).await
    })
}
