//go:build linux

package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

// completions write the script of each shell.
var completions = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"zsh":        (*cobra.Command).GenZshCompletion,
	"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
}

func newCompletion() *cobra.Command {
	shells := slices.Sorted(maps.Keys(completions))
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes ipcns for a shell",
		Long: fmt.Sprintf(`Print a script with which a shell completes commands, options and namespaces of
ipcns. SHELL is one of %s; bash also needs the package
bash-completion.`, strings.Join(shells, ", ")),
		Example: `  source <(ipcns completion bash)
  ipcns completion bash | sudo tee /etc/bash_completion.d/ipcns
  ipcns completion zsh | sudo tee /usr/local/share/zsh/site-functions/_ipcns
  ipcns completion fish >~/.config/fish/completions/ipcns.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || completions[args[0]] == nil {
				return takes(cmd, "one shell: %s", strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return completions[args[0]](cmd.Root(), cmd.OutOrStdout())
		},
	}
}

// completeNamespace offers the ways to name a namespace, and the namespaces
// that this user sees.
func completeNamespace(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, _ := completeNames(cmd, nil, toComplete)
	references := append(names, "self", "init", "pid:", "path:")
	const proc = host.Proc("/proc")
	namespaces, _, _ := proc.Namespaces() // none, without a /proc
	for _, ns := range namespaces {
		who := fmt.Sprintf("%d %s", ns.PIDs[0], oneline.Of(proc.Command(ns.PIDs[0])))
		references = append(references, cobra.CompletionWithDesc(fmt.Sprintf("ipc:[%d]", ns.Inode), who))
	}
	return references, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeName offers the names of the user for a first argument.
func completeName(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return completeNames(cmd, args, toComplete)
}

// completeNames offers the names of the user for every argument.
func completeNames(cmd *cobra.Command, args []string, toComplete string) (names []string, directive cobra.ShellCompDirective) {
	registered := registry.Open()
	all, err := registered.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	current, err := registered.Current()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for _, ns := range all {
		names = append(names, registry.Shown(current, ns.Name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
