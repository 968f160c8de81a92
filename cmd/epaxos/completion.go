package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/prompt"
)

const completionHelp = `Prints a script that makes a shell complete commands, flags and their values with Tab: keys
and replicas too, which it asks the cluster for (that of the line's --profile, or of EPAXOS_PROFILE), for at most a
second.

  bash        source <(epaxos completion bash)                          in ~/.bashrc; needs bash-completion
  zsh         source <(epaxos completion zsh)                           in ~/.zshrc, after compinit
  fish        epaxos completion fish > ~/.config/fish/completions/epaxos.fish
  powershell  epaxos completion powershell | Out-String | Invoke-Expression`

func completionCommand(sh *shell) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion " + strings.Join(shells, "|"), Short: "Make a shell complete commands with Tab",
		Long: completionHelp, ValidArgs: shells, DisableFlagsInUseLine: true,
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := fmt.Errorf("no script for %s", args[0])
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(sh.out, true)
			case "zsh":
				err = root.GenZshCompletion(sh.out)
			case "fish":
				err = root.GenFishCompletion(sh.out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(sh.out)
			}
			if err != nil {
				return &failure{code: exitFailed, err: fmt.Errorf("write the script: %w", err)}
			}
			return nil
		},
	}
}

// suggestion says what may stand in one place of a command line.
type suggestion func(a *asking, prefix string) ([]cobra.Completion, cobra.ShellCompDirective)

// placeholders say what the words in capitals stand for in the usage lines of commands.
var placeholders = map[string]suggestion{
	"KEY": keys, "FROM": keys, "TO": keys, "PREFIX": keys,
	"ID": replicas, "REPLICA": replicas,
	"FILE": files, "DIR": directories,
	"SETTING": words(presetNames()...),
}

// flagValues say what flags take, by their names.
var flagValues = map[string]suggestion{
	"profile": files, "config": files, "history": files, "json": files, "trace": files,
	"dir": directories, "out": directories, "cluster-dir": directories,
	"endpoint": endpoints, "output": forms, "replica": replicas, "prefix": keys, "file": files,
	"consistency": words("linearizable\tall that was answered anywhere before",
		"session\tall that this client has seen", "stale\twhat the nearest replica has, with its age"),
	"log-level": words("debug", "info", "warn", "error"), "log-format": words("text", "json"),
}

// completions tells every command what its arguments and flags may be: the usage line names the arguments.
func completions(sh *shell, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		completions(sh, sub)
	}
	if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && !cmd.HasSubCommands() {
		places := argumentsOf(cmd)
		cmd.ValidArgsFunction = func(
			cmd *cobra.Command, args []string, prefix string,
		) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) >= len(places) {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return placeholders[places[len(args)]].answer(&asking{sh, cmd}, prefix)
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		suggest := flagValues[f.Name]
		if _, there := cmd.GetFlagCompletionFunc(f.Name); there {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, // it exists, and has no other
			func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return suggest.answer(&asking{sh, cmd}, prefix)
			})
	})
}

// answer keeps what begins with the prefix; not every shell does that by itself. Nothing is known of a place without a
// suggestion.
func (s suggestion) answer(a *asking, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if s == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, directive := s(a, prefix)
	return slices.DeleteFunc(slices.Clone(all), func(c cobra.Completion) bool {
		return !strings.HasPrefix(c, prefix)
	}), directive
}

// argumentsOf lists the placeholders of a usage line, in order, such as FROM and TO of "range [FROM [TO]]".
func argumentsOf(cmd *cobra.Command) []string {
	var places []string
	for _, word := range strings.Fields(cmd.Use)[1:] {
		word = strings.Trim(word, "[]…")
		if word == "|" || strings.HasPrefix(word, "-") {
			break
		}
		places = append(places, word)
	}
	return places
}

// asking is one question of a shell.
type asking struct {
	sh  *shell
	cmd *cobra.Command
}

// connect calls f with a client, if there is one to be had in time: who completes gets no errors.
func (a *asking) connect(f func(context.Context, *clients.Client)) {
	c := &connection{sh: a.sh, forms: []string{formTable}, output: formTable, timeout: a.sh.patience}
	if profile := a.cmd.Flags().Lookup("profile"); profile != nil {
		c.profile = profile.Value.String()
	}
	if endpoints, err := a.cmd.Flags().GetStringArray("endpoint"); err == nil {
		c.endpoints = endpoints
	}
	// What fails offers nothing.
	_ = c.with(a.cmd.Context(), func(ctx context.Context, client *clients.Client) error {
		f(ctx, client)
		return nil
	})
}

// Bounds of what is offered.
const (
	keysOffered = 100
	keysPages   = 16
	keysPage    = 64
)

// keys offers the keys that begin with a prefix, as a file system would: up to the next slash. They are those that the
// nearest replica has, which costs no round trip between regions.
func keys(a *asking, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	directive := cobra.ShellCompDirectiveNoFileComp
	a.connect(func(ctx context.Context, client *clients.Client) {
		span := clients.Prefix(prefix)
		for range keysPages {
			page, err := client.Range(ctx, span, clients.KeysOnly(), clients.Limit(keysPage), clients.Stale)
			if err != nil {
				return
			}
			span.From = page.Next
			folder := ""
			for _, pair := range page.Pairs {
				if folder != "" && strings.HasPrefix(pair.Key, folder) || printable([]byte(pair.Key)) != pair.Key {
					continue
				}
				name := pair.Key
				if slash := strings.IndexByte(name[len(prefix):], '/'); slash >= 0 {
					name = name[:len(prefix)+slash+1]
				}
				if folder = ""; strings.HasSuffix(name, "/") {
					folder, directive = name, directive|cobra.ShellCompDirectiveNoSpace
				}
				found = append(found, name)
			}
			if len(found) >= keysOffered || !page.More() {
				return
			}
			if folder != "" {
				if span.From = clients.Prefix(folder).End; span.From == "" {
					return
				}
			}
		}
	})
	return found[:min(len(found), keysOffered)], directive
}

// replicas offers the ids of the replicas that the client is connected to.
func replicas(a *asking, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	a.connect(func(ctx context.Context, client *clients.Client) {
		all, _, err := askMembers(ctx, client)
		if err != nil {
			return
		}
		for _, one := range all {
			about := strings.TrimSpace(one.Name + " " + one.Addr)
			found = append(found, cobra.CompletionWithDesc(strconv.FormatUint(uint64(one.Replica), 10), told(about)))
		}
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

// endpoints offers those of the profile.
func endpoints(a *asking, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c := &connection{sh: a.sh, forms: []string{formTable}, output: formTable, timeout: a.sh.patience}
	c.profile, _ = a.cmd.Flags().GetString("profile")
	access, err := c.check()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return access.Endpoints, cobra.ShellCompDirectiveNoFileComp
}

// formAnnotation holds the forms of output of a command, beside its flag.
const formAnnotation = "epaxos-forms"

// formsOf lists the forms that a flag for output takes.
func formsOf(f *pflag.Flag) []string {
	if forms := f.Annotations[formAnnotation]; len(forms) > 0 {
		return forms
	}
	return []string{formTable, formJSON}
}

func forms(a *asking, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return formsOf(a.cmd.Flags().Lookup("output")), cobra.ShellCompDirectiveNoFileComp
}

func words(all ...string) suggestion {
	return func(*asking, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func files(*asking, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func directories(*asking, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// candidates reads what a command of the program offers to any shell: one word in each line, with a description behind
// a tab, and a number with the rules for all of them in the last.
func candidates(offered, last string) []prompt.Candidate {
	lines := strings.Split(strings.TrimSuffix(offered, "\n"), "\n")
	number, err := strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1], ":"))
	if err != nil {
		return nil
	}
	directive := cobra.ShellCompDirective(number)
	flag, value, isFlag := strings.Cut(last, "=")
	isFlag = isFlag && strings.HasPrefix(flag, "-")
	if len(lines) == 1 && directive&cobra.ShellCompDirectiveNoFileComp == 0 {
		if !isFlag {
			flag, value = "", last
		}
		return paths(flag, value, directive&cobra.ShellCompDirectiveFilterDirs != 0)
	}
	var all []prompt.Candidate
	for _, line := range lines[:len(lines)-1] {
		text, about, _ := strings.Cut(line, "\t")
		if isFlag && !strings.HasPrefix(text, flag+"=") {
			text = flag + "=" + text
		}
		more := directive&cobra.ShellCompDirectiveNoSpace != 0 &&
			(strings.HasSuffix(text, "/") || strings.HasSuffix(text, "="))
		all = append(all, prompt.Candidate{Text: text, About: about, More: more})
	}
	return all
}

// paths offers what is in a directory.
func paths(flag, begin string, directories bool) []prompt.Candidate {
	dir, base := filepath.Split(begin)
	entries, err := os.ReadDir(filepath.Clean("./" + dir))
	if filepath.IsAbs(dir) {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil
	}
	var all []prompt.Candidate
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, base) || base == "" && name[0] == '.' || directories && !entry.IsDir() {
			continue
		}
		one := prompt.Candidate{Text: dir + name}
		if entry.IsDir() {
			one.Text, one.More = one.Text+"/", true
		}
		if flag != "" {
			one.Text = flag + "=" + one.Text
		}
		all = append(all, one)
	}
	return slices.Clip(all)
}
