package prompt

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errOpen is the error of a line in whose middle something begins that does not end.
var errOpen = errors.New("a quote is not closed")

// Split cuts a line into words at blanks. Within a word, 'single quotes' hold what they hold, "double quotes" hold what
// they do in Go, such as "\n" and "\xff", and a backslash makes the next character an ordinary one. # at the begin of a
// word makes the rest of the line a comment.
func Split(line string) ([]string, error) {
	words, last, err := scan(line)
	if err != nil {
		return nil, err
	}
	if last.open {
		words = append(words, last.Text)
	}
	return words, nil
}

// Word is the word under a cursor that stands at its end.
type Word struct {
	Start int    // byte of the line where it begins
	Text  string // what it means so far
	Quote byte   // the quote that is open in it; 0 if none
	open  bool   // something of it is there, though it may be ""
}

// Cursor cuts the part of a line before the cursor into the words that are complete and the one that is being typed,
// which is empty behind a blank. The result is false where nothing can be completed: in a comment, or behind what
// Split would refuse.
func Cursor(before string) ([]string, Word, bool) {
	words, last, err := scan(before)
	if err != nil && !errors.Is(err, errOpen) || last.Start < 0 {
		return nil, Word{}, false
	}
	if !last.open {
		last.Start = len(before)
	}
	return words, last, true
}

// scan returns the words that a blank ends and the one that the line ends. Start of that is negative in a comment.
func scan(line string) ([]string, Word, error) {
	var words []string
	var word strings.Builder
	last := Word{}
	for at := 0; at < len(line); {
		r, size := utf8.DecodeRuneInString(line[at:])
		if unicode.IsSpace(r) {
			if last.open {
				words = append(words, word.String())
				word.Reset()
				last = Word{}
			}
			at += size
			continue
		}
		if !last.open {
			if r == '#' {
				return words, Word{Start: -1}, nil
			}
			last = Word{Start: at, open: true}
		}
		piece, length, err := next(line[at:])
		word.WriteString(piece)
		if err != nil {
			last.Text = word.String()
			if errors.Is(err, errOpen) && line[at] != '\\' {
				last.Quote = line[at]
			}
			return words, last, err
		}
		at += length
	}
	last.Text = word.String()
	return words, last, nil
}

// next reads one piece of a word: a quoted one, or a character.
func next(rest string) (piece string, length int, err error) {
	switch rest[0] {
	case '\'':
		end := strings.IndexByte(rest[1:], '\'')
		if end < 0 {
			return rest[1:], 0, errOpen
		}
		return rest[1 : 1+end], end + 2, nil
	case '"':
		return quoted(rest)
	case '\\':
		_, size := utf8.DecodeRuneInString(rest[1:])
		if size == 0 {
			return "", 0, errOpen
		}
		return rest[1 : 1+size], 1 + size, nil
	default:
		_, size := utf8.DecodeRuneInString(rest)
		return rest[:size], size, nil
	}
}

// quoted reads a piece in double quotes.
func quoted(rest string) (string, int, error) {
	end := 1
	for end < len(rest) && rest[end] != '"' {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(rest) {
		// As far as it goes, for the one who completes it.
		piece, err := strconv.Unquote(`"` + strings.TrimSuffix(rest[1:], `\`) + `"`)
		if err != nil {
			piece = rest[1:]
		}
		return piece, 0, errOpen
	}
	piece, err := strconv.Unquote(rest[:end+1])
	if err != nil {
		return "", 0, errors.New("cannot read " + rest[:end+1] + ": in double quotes, \\ means what it does in Go")
	}
	return piece, end + 1, nil
}

// Quote writes a word so that Split reads it: as it is if it can be, or else in quotes.
func Quote(word string) string {
	plain := word != "" && word[0] != '#' && utf8.ValidString(word) && !strings.ContainsFunc(word, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`'"\`, r)
	})
	if plain {
		return word
	}
	return strconv.Quote(word)
}
