package lint

import (
	"bytes"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Resolver finds the types of an imported package.
type Resolver = types.Importer

// Exports asks the go command, in the module at root, for the compiled form of everything that the
// packages import. Compiled packages come from the build cache, so this costs a second at most
// where the module was built before.
func Exports(root string, packages ...string) (Resolver, error) {
	args := append([]string{"list", "-export", "-deps", "-e", "-f", "{{.ImportPath}}\t{{.Export}}"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list compiled packages: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	files := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		if name, file, ok := strings.Cut(line, "\t"); ok && file != "" {
			files[name] = file
		}
	}
	open := func(name string) (io.ReadCloser, error) {
		file, found := files[name]
		if !found {
			return nil, fmt.Errorf("package %s is not compiled", name)
		}
		return os.Open(file)
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", open), nil
}
