package lint

import (
	"slices"
	"strconv"
	"strings"
)

// packageRule says what one package may import of this module.
type packageRule struct {
	folder  string
	imports []string
	why     string // printed with each breach: the reason, and the alternative
}

const (
	whyCore = "the protocol depends on nothing of ours: declare the small interface that it needs, " +
		"and let internal/node connect the two"
	whyPure   = "it is part of the pure machine: only types of the core and the wire belong here"
	whyOpaque = "storage knows bytes, not instances: encode in internal/wire, compose in internal/node"
	whyNode   = "the node must run in the simulator: take what touches the world as a small interface " +
		"that server fills"
	whyShell   = "the transport moves opaque envelopes: what they mean is decided in server and internal/node"
	whyClients = "the client package is what others link: the replica reaches its server half through a small interface"
	whyCommand = "commands parse and delegate: a replica is run through server alone"
	whyLeaf    = "it is a leaf that shells share: pass what it needs as arguments"
	whyProcess = "each package is one step of testing real processes: the test in internal/process connects them"
	whySim     = "the simulator runs the node on fake time: it must not reach sockets, disks or processes"
)

// everything stands for all packages of the module.
const everything = "..."

// packageRules is the import table: arrows point at the core (design decision record 0001).
var packageRules = []packageRule{
	{"epaxos", nil, whyCore},
	{"deps", []string{"epaxos"}, whyPure},
	{"internal/wire", []string{"epaxos"}, whyPure},
	{"execution", []string{"epaxos", "internal/wire"}, whyPure},
	{"storage", nil, whyOpaque},
	{"storage/storetest", []string{"storage"}, whyOpaque},
	{"transport", []string{"epaxos", "internal/wire", "internal/identity", "internal/wan"}, whyShell},
	{"clients", []string{
		"epaxos", "internal/wire", "internal/identity", "internal/wan", "clients/internal/protocol",
	}, whyClients},
	{"clients/gateway", []string{
		"epaxos", "internal/wire", "internal/identity", "internal/wan", "clients", "clients/internal/protocol",
	}, whyClients},
	{"clients/profile", []string{"clients", "internal/bootstrap"}, whyClients},
	{"clients/recipes", []string{"clients"}, whyClients},
	{"clients/internal/protocol", []string{"epaxos", "internal/wire"}, whyLeaf},
	{"internal/identity", []string{"epaxos"}, whyLeaf},
	{"internal/wan", nil, whyLeaf},
	{"internal/config", []string{"epaxos"}, whyLeaf},
	{"internal/bootstrap", []string{
		"epaxos", "storage", "internal/config", "internal/identity", "internal/wire",
	}, whyLeaf},
	{"internal/history", []string{"epaxos", "execution", "internal/wire"}, whyLeaf},
	{"internal/watch", []string{"epaxos", "execution", "internal/wire"}, whyPure},
	{"internal/node", []string{
		"epaxos", "deps", "execution", "storage", "internal/wire", "internal/watch",
	}, whyNode},
	{"internal/sim", []string{
		"epaxos", "deps", "execution", "storage", "internal/wire", "internal/node", "internal/history",
	}, whySim},
	{"internal/paxos", []string{"epaxos", "execution"}, whyPure},
	{"internal/workload", []string{"internal/wire"}, whyPure},
	{"internal/experiment", []string{
		"epaxos", "deps", "execution", "internal/wire", "internal/paxos", "internal/wan", "internal/workload",
	}, whySim},
	{"internal/bench", []string{"clients", "internal/wire", "internal/workload", "internal/experiment"}, whyLeaf},
	{"internal/loopback", []string{
		"epaxos", "clients", "execution", "server", "internal/bootstrap", "internal/wan",
	}, whyLeaf},
	{"internal/live", []string{everything}, whyLeaf},
	{"internal/process", []string{everything}, whyLeaf},
	{"internal/process/cluster", []string{
		"epaxos", "clients", "storage", "server", "internal/bootstrap", "internal/config", "internal/wan",
	}, whyProcess},
	{"internal/process/traffic", []string{
		"epaxos", "clients", "server", "internal/wire", "internal/history", "internal/process/cluster",
	}, whyProcess},
	{"internal/process/failure", []string{
		"server", "internal/wan", "internal/process/cluster", "internal/process/traffic",
	}, whyProcess},
	{"internal/process/validate", []string{"internal/history", "internal/process/cluster"}, whyProcess},
	{"internal/process/report", []string{"internal/wire", "internal/history"}, whyProcess},
	{"internal/demo", []string{everything}, whyLeaf},
	{"internal/hostile", []string{"epaxos"}, whyLeaf},
	{"internal/prompt", nil, whyLeaf},
	{"internal/lint", nil, whyLeaf},
	{"internal/mutants", nil, whyLeaf},
	{"server", []string{everything}, whyShell},
	{"cmd/epaxos", []string{
		"epaxos", "execution", "server", "clients", "clients/recipes", "internal/bootstrap", "internal/config",
		"internal/identity", "internal/wan", "internal/history", "internal/wire", "internal/demo",
		"internal/experiment", "internal/live", "internal/prompt",
		"internal/bench", "internal/workload",
	}, whyCommand},
}

// library says where one third-party library may be imported.
type library struct {
	path  string
	homes []string
	tests []string // more folders, for tests only
	why   string
}

// libraries is the complete list: a library that is not in it is not used.
var libraries = []library{
	{"github.com/quic-go/quic-go",
		[]string{"transport", "clients", "clients/gateway", "clients/internal/protocol"}, []string{"internal/wan"},
		"its interface breaks with each minor release: talk to transport or clients"},
	{"github.com/vmihailenco/msgpack", []string{"internal/wire"}, nil,
		"its reflection allocates what a peer claims: write an encoder and a checked decoder in internal/wire"},
	{"github.com/dgraph-io/badger", []string{"storage"}, nil,
		"it hides behind storage.Store, so that a flat log can replace it"},
	{"github.com/spf13/viper", []string{"internal/config"}, nil,
		"take a typed value of config.Config, which was checked"},
	{"github.com/go-viper/mapstructure", []string{"internal/config"}, nil, "take a typed value of config.Config"},
	{"go.yaml.in/yaml", []string{"internal/config"}, nil, "take a typed value of config.Config"},
	{"github.com/spf13/pflag", []string{"internal/config", "cmd/epaxos"}, nil, "flags end in cmd: pass arguments"},
	{"github.com/spf13/cobra", []string{"cmd/epaxos"}, nil, "commands end in cmd: pass arguments"},
	{"github.com/anishathalye/porcupine", []string{"internal/history"}, nil,
		"record with internal/history and ask it for the verdict"},
	{"github.com/HdrHistogram/hdrhistogram-go", []string{"internal/bench"}, nil,
		"measure with internal/bench, or return the raw durations"},
	{"golang.org/x/sys", []string{"storage", "transport", "internal/wan"}, []string{"internal/prompt"},
		"system calls stay in the shell"},
	{"golang.org/x/term", []string{"internal/prompt"}, nil,
		"read lines through internal/prompt, which runs without a terminal, too"},
	{"github.com/cockroachdb/datadriven", nil, []string{"epaxos", "execution"},
		"it runs golden scripts of the pure packages only"},
	{"pgregory.net/rapid", nil, []string{everything}, "it generates inputs for tests only"},
	{"go.uber.org/goleak", nil, []string{everything}, "it finds leaked goroutines in tests only"},
}

func (c *checker) imports(f goFile) {
	rule, known := ruleOf(f.folder)
	if !known {
		c.add(f.Name, 1, "unknown package",
			"add %s to the import table in internal/lint, with the reason for its place", f.folder)
		return
	}
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it
		}
		inside, ours := strings.CutPrefix(imported, Module+"/")
		switch {
		case ours:
			// Tests may reach for any package: the shape is what ships.
			if !f.test && inside != f.folder && !permits(rule.imports, inside) {
				c.at(f, spec, "import", "%s must not import %s: %s", f.folder, inside, rule.why)
			}
		case strings.Contains(strings.Split(imported, "/")[0], "."):
			if why := misplaced(f, imported); why != "" {
				c.at(f, spec, "library", "%s must not import %s: %s", f.folder, imported, why)
			}
		}
	}
}

// ruleOf finds the rule of a folder. A command may have packages of its own below it.
func ruleOf(folder string) (packageRule, bool) {
	for _, rule := range packageRules {
		if folder == rule.folder || strings.HasPrefix(rule.folder, "cmd/") && strings.HasPrefix(folder, rule.folder+"/") {
			return rule, true
		}
	}
	return packageRule{}, false
}

func permits(folders []string, folder string) bool {
	return slices.Contains(folders, folder) || slices.Contains(folders, everything)
}

// misplaced tells why a file must not import a library, or nothing.
func misplaced(f goFile, imported string) string {
	rule, known := ruleOf(f.folder)
	for _, lib := range libraries {
		if imported != lib.path && !strings.HasPrefix(imported, lib.path+"/") {
			continue
		}
		if known && permits(lib.homes, rule.folder) || f.test && permits(lib.tests, f.folder) {
			return ""
		}
		return lib.why
	}
	return "it is not among the libraries of this module: use the standard library, " +
		"or argue for it in a decision record"
}
