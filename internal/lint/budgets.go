package lint

import (
	"go/ast"
	"strings"
	"unicode/utf8"
)

// The budgets. They may only fall.
const (
	fileLinesMax         = 500
	testFileLinesMax     = 1000
	functionLinesMax     = 70
	testFunctionLinesMax = 140 // tables of cases count as lines of their function
	parametersMax        = 5
	lineCharactersMax    = 120
)

func (c *checker) budgets(f goFile) {
	lines := strings.Split(strings.TrimSuffix(f.Text, "\n"), "\n")
	fileMax, functionMax := fileLinesMax, functionLinesMax
	if f.test {
		fileMax, functionMax = testFileLinesMax, testFunctionLinesMax
	}
	if len(lines) > fileMax {
		c.add(f.Name, fileMax+1, "file length",
			"%d lines, at most %d: move one idea into a file of its own", len(lines), fileMax)
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > lineCharactersMax && !f.test {
			c.add(f.Name, i+1, "line length", "%d characters, at most %d: break the line", n, lineCharactersMax)
		}
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			if n.Body != nil {
				c.function(f, n, "function "+n.Name.Name, functionMax)
			}
			c.parameters(f, n, n.Type)
		case *ast.FuncLit:
			c.parameters(f, n, n.Type)
		}
		return true
	})
}

func (c *checker) function(f goFile, n *ast.FuncDecl, name string, linesMax int) {
	if lines := c.line(n.End()) - c.line(n.Pos()) + 1; lines > linesMax {
		c.at(f, n, "function length", "%s has %d lines, at most %d: give a part of it a name", name, lines, linesMax)
	}
}

func (c *checker) parameters(f goFile, n ast.Node, typ *ast.FuncType) {
	count := 0
	for _, field := range typ.Params.List {
		count += max(len(field.Names), 1)
	}
	if count > parametersMax {
		c.at(f, n, "parameters",
			"%d parameters, at most %d: gather them in a struct with named fields", count, parametersMax)
	}
}
