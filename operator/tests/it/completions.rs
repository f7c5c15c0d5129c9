use crate::operator::Operator;

#[test]
fn completion_scripts_contain_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Operator::default()
            .run(&format!("completions {shell}"))
            .exits(0)
            .stdout;
        for command in ["subscribe", "reconcile", "redrive", "--despite-doubts"] {
            let command = if shell == "fish" {
                command.trim_start_matches('-')
            } else {
                command
            };
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
