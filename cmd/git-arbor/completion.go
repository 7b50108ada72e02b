package main

import (
	"io"

	"github.com/spf13/cobra"
)

// gitCompletion lets git's own completion for bash, which calls _git_SUBCOMMAND, complete `git arbor` as git-arbor.
const gitCompletion = `
_git_arbor()
{
    local i=1
    while [[ $i -lt $COMP_CWORD && ${COMP_WORDS[i]} != arbor ]]; do
        ((i++))
    done
    COMP_WORDS=(git-arbor "${COMP_WORDS[@]:i+1}")
    COMP_CWORD=$((COMP_CWORD - i))
    COMP_LINE="${COMP_WORDS[*]}"
    COMP_POINT=${#COMP_LINE}
    __start_git-arbor
}
`

func newCompletionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script for a shell",
		Long: `Print the completion script for bash, zsh, fish or powershell. For bash, which needs the bash-completion package:

  git-arbor completion bash > ~/.local/share/bash-completion/completions/git-arbor

and source the same file in ~/.bashrc to complete "git arbor" too.`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			if err := root.GenBashCompletionV2(a.stdout, true); err != nil {
				return err
			}
			_, err := io.WriteString(a.stdout, gitCompletion)
			return err
		},
	}
}
