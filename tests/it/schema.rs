//! schema.graphql is the schema.

#[test]
fn the_file_and_the_code_agree() {
    let file = include_str!("../../schema.graphql");
    assert!(
        payonce::graphql::sdl() == file,
        "schema.graphql is not what the code says: run `make schema` and look at the difference"
    );
}
