package prompt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal: what is written to its keyboard is typed.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("the terminal stays locked:", err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 40}); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the terminal cannot be opened:", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// TestRealTerminal types at a terminal of the kernel. It is raw while a line is read, so that Ctrl-C is a key, and as it
// was at all other times, so that Ctrl-C is a signal.
func TestRealTerminal(t *testing.T) {
	keyboard, file := openTerminal(t)
	if !IsTerminal(file) {
		t.Fatal("it is taken for no terminal")
	}
	before, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	terminal := NewTerminal(file, file, &History{}, func([]string, string) []Candidate {
		during, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		if err != nil || during.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) != 0 {
			t.Errorf("%v: the terminal is not raw while a line is read", err)
		}
		return []Candidate{{Text: "colour"}}
	})
	if width := terminal.width(); width != 40 {
		t.Errorf("the terminal is %d wide, want 40", width)
	}
	// Typed before it is raw, Ctrl-C would be a signal, and gone.
	var typed string
	raw := terminal.raw
	terminal.raw = func() (func() error, error) {
		restore, err := raw()
		if err == nil {
			_, err = keyboard.WriteString(typed)
		}
		return restore, err
	}
	for _, c := range []struct {
		typed, line string
		err         error
	}{
		{"get c\t\r", "get colour ", nil}, {"get\x03", "", ErrInterrupted}, {"\x1b[A\r", "get colour", nil},
		{"\x04", "", io.EOF},
	} {
		typed = c.typed
		line, err := terminal.Line("> ")
		if line != c.line || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v, want %q, %v", c.typed, line, err, c.line, c.err)
		}
		after, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("%v: the terminal is not given back as it was", err)
		}
	}
}
