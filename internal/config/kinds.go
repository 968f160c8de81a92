package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind is a type of values: what a file may hold for it, and how its text is read.
type kind struct {
	name string
	tags []string                   // YAML types that may stand for it unquoted or quoted
	read func(text string) error    // whether a text is a value; the same check for all sources
	list *[]Key                     // in a file: a list of groups with these keys
	flat bool                       // in a file: a list of texts
	path bool                       // in a file: relative to the file's directory
	text func(value any) (s string) // back to the file's form; nil is fmt.Sprint
}

const (
	tagString = "!!str"
	tagInt    = "!!int"
	tagFloat  = "!!float"
	tagBool   = "!!bool"
)

// Identifiers may look like numbers to YAML ("1234…", "0x2f", "12e4…"); what counts is their text.
var (
	textual = []string{tagString}
	number  = []string{tagInt}
	either  = []string{tagString, tagInt}
	digits  = []string{tagString, tagInt, tagFloat}
)

var (
	kindCluster     = &kind{name: "32 hex digits", tags: digits, read: readText[ClusterID]}
	kindFingerprint = &kind{name: "64 hex digits", tags: digits, read: readText[Fingerprint]}
	kindReplica     = &kind{name: "id", tags: number, read: wrap(parseReplica)}
	kindIncarnation = &kind{name: "number", tags: either, read: wrap(parseIncarnation),
		text: func(v any) string { return fmt.Sprintf("%#x", v) }}
	kindCount    = &kind{name: "count", tags: number, read: wrap(parseCount)}
	kindQuorum   = &kind{name: "count or auto", tags: either, read: wrap(parseQuorum), text: quorumText}
	kindName     = &kind{name: "text", tags: textual, read: readPrintable}
	kindPath     = &kind{name: "path", tags: textual, read: readPrintable, path: true}
	kindAddress  = &kind{name: "host:port", tags: textual, read: readAddress}
	kindDuration = &kind{name: "duration", tags: textual, read: wrap(parseDuration)}
	kindBytes    = &kind{name: "bytes", tags: either, read: wrap(parseBytes)}
	kindLevel    = &kind{name: "level", tags: textual, read: wrap(parseLevel),
		text: func(v any) string { return strings.ToLower(fmt.Sprint(v)) }}
	kindBool      = &kind{name: "true or false", tags: []string{tagBool}, read: wrap(parseBool)}
	kindFormat    = &kind{name: "text or json", tags: textual, read: readFormat}
	kindMembers   = &kind{name: "members", list: &memberKeys, read: wrap(parseMembers)}
	kindAddresses = &kind{name: "list of host:port", tags: textual, flat: true, read: readAddress}
)

func wrap[T any](parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		_, err := parse(text)
		return err
	}
}

// readText reads into a value of its own, because files are read on several goroutines at once.
func readText[T any, P interface {
	*T
	UnmarshalText(text []byte) error
}](text string) error {
	return P(new(T)).UnmarshalText([]byte(text))
}

// parseWhole refuses what Go or YAML would read in a base nobody meant: 010 is 8 to both.
func parseWhole(text string, limit uint64) (uint64, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	if len(text) > 1 && text[0] == '0' {
		return 0, fmt.Errorf("%q starts with 0, which may mean base 8: write it without", text)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > limit {
		return 0, fmt.Errorf("%s is too large: at most %d", text, limit)
	}
	return n, nil
}

func parseReplica(text string) (uint64, error) { return parseWhole(text, math.MaxUint32) }

func parseCount(text string) (int, error) {
	n, err := parseWhole(text, math.MaxInt32)
	return int(n), err
}

func parseQuorum(text string) (int, error) {
	if text == "auto" {
		return Auto, nil
	}
	if strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is neither auto nor a whole number", text)
	}
	return parseCount(text)
}

func quorumText(value any) string {
	if value == Auto {
		return "auto"
	}
	return fmt.Sprint(value)
}

func parseIncarnation(text string) (uint64, error) {
	hexadecimal, isHex := strings.CutPrefix(text, "0x")
	if !isHex {
		return parseWhole(text, math.MaxUint64)
	}
	n, err := strconv.ParseUint(hexadecimal, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a hexadecimal number of at most 64 bits", text)
	}
	return n, nil
}

func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: write %sms or %ss", text, text, text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write one like 10ms or 1.5s", text)
	}
	return d, nil
}

func parseBytes(text string) (Bytes, error) {
	for _, unit := range byteUnits {
		if count, ok := strings.CutSuffix(text, unit.name); ok {
			n, err := parseWhole(count, uint64(math.MaxInt64/unit.size))
			return Bytes(n) * unit.size, err
		}
	}
	if strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not an amount of bytes: write a whole number and KiB, MiB or GiB", text)
	}
	n, err := parseWhole(text, math.MaxInt64)
	return Bytes(n), err
}

func parseLevel(text string) (slog.Level, error) {
	levels := []string{"debug", "info", "warn", "error"}
	if !slices.Contains(levels, text) {
		return 0, fmt.Errorf("%q is not a level: %s", text, strings.Join(levels, ", "))
	}
	var level slog.Level
	return level, level.UnmarshalText([]byte(text))
}

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fmt.Errorf("%q is neither true nor false", text)
	}
	return text == "true", nil
}

func readFormat(text string) error {
	if text != "text" && text != "json" {
		return fmt.Errorf("%q is not a format: text or json", text)
	}
	return nil
}

func readPrintable(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%q holds control characters or is not UTF-8", text)
	}
	return nil
}

// readAddress checks the form only: names are resolved, and resolved again, when dialled.
func readAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not host:port", text)
	}
	if n, err := parseWhole(port, math.MaxUint16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port between 1 and 65535", text)
	}
	return readPrintable(text)
}

// parseMembers reads the one-line form: id=host:port#fingerprint#incarnation, and #name where there
// is one, separated by commas. It returns the form that the file has, texts by key.
func parseMembers(text string) ([]any, error) {
	var members []any
	for i, entry := range strings.Split(text, ",") {
		id, rest, _ := strings.Cut(entry, "=")
		fields := strings.Split(rest, "#")
		if len(fields) < 3 || len(fields) > 4 {
			return nil, fmt.Errorf("entry %d, %q, is not id=host:port#fingerprint#incarnation", i+1, entry)
		}
		texts := append([]string{id}, fields...)
		member := make(map[string]any, len(texts))
		for j, value := range texts {
			if err := memberKeys[j].kind.read(value); err != nil {
				return nil, fmt.Errorf("entry %d: %s: %w", i+1, memberKeys[j].Name, err)
			}
			member[memberKeys[j].Name] = value
		}
		members = append(members, member)
	}
	return members, nil
}

// resolve makes a path of a file independent of that file.
func resolve(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
