//! The template, as the route table it is.

use local::template::{Function, Route, TEMPLATE, Template};

/// Its endpoints.
pub(crate) fn functions() -> Vec<Function> {
    all_functions().into_iter().filter(|function| !function.routes.is_empty()).collect()
}

/// What follows from its streams.
pub(crate) fn consumers() -> Vec<Function> {
    all_functions().into_iter().filter(|function| function.routes.is_empty()).collect()
}

/// Endpoints and consumers.
pub(crate) fn all_functions() -> Vec<Function> {
    Template::parse(TEMPLATE).unwrap().functions().unwrap()
}

/// Its routes.
pub(crate) fn routes() -> Vec<Route> {
    functions().into_iter().flat_map(|function| function.routes).collect()
}

/// The binary that a route leads to.
pub(crate) fn binary_of(route: &Route) -> String {
    let function = functions().into_iter().find(|function| function.routes.contains(route));
    function.unwrap_or_else(|| panic!("no function has the route {route}")).binary
}
