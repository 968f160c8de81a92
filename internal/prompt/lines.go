package prompt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrInterrupted is the end of a line by Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// Lines reads a dialogue line by line.
type Lines interface {
	// Line shows a prompt, where somebody sees it, and reads a line, without its end. The error is io.EOF at the end
	// of the input, or by Ctrl-D at the begin of a line; ErrInterrupted after Ctrl-C.
	Line(prompt string) (string, error)
	// Continue is Line for what belongs to the line before: it is completed by nothing and no part of the history.
	Continue(prompt string) (string, error)
}

// LongestLine bounds what Plain reads as one line, in bytes.
const LongestLine = 1 << 20

// Plain reads lines from what is no terminal. Prompts are not shown.
func Plain(in io.Reader) Lines { return &plain{in: bufio.NewReader(in)} }

type plain struct{ in *bufio.Reader }

func (p *plain) Continue(prompt string) (string, error) { return p.Line(prompt) }

func (p *plain) Line(string) (string, error) {
	var line strings.Builder
	for {
		part, err := p.in.ReadSlice('\n')
		if line.Len()+len(part) > LongestLine {
			return "", fmt.Errorf("a line is longer than %d bytes", LongestLine)
		}
		line.Write(part)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && line.Len() > 0: // the last line may lack its end
		case err != nil:
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(line.String(), "\n"), "\r"), nil
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
