package config

import (
	"fmt"
	"strings"
)

// Markdown is the text of docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Generated from the table in internal/config; "make golden" writes it anew. -->

` + "`epaxos serve --config FILE`" + ` reads one YAML file. Every setting may also be given as a flag or as an
environment variable. A flag beats the environment, which beats the file, which beats the default. An empty
environment variable counts as unset.

The file is read strictly. Unknown and repeated keys, values of the wrong type, durations without a unit,
numbers with leading zeros and impossible values are refused, each with its key and line, all at once. Amounts of
bytes are whole numbers, alone or with KiB, MiB or GiB. Nothing is reloaded while a replica runs.

` + "`epaxos init`" + ` writes a file for each replica and a profile for clients.

| key | flag | environment | type | default | meaning |
|---|---|---|---|---|---|
`)
	for _, k := range keys {
		value := "`" + k.Default + "`"
		switch {
		case k.Required:
			value = "required"
		case k.Default == "":
			value = ""
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s | %s |\n",
			k.Name, k.Flag(), k.Env(), k.Kind(), value, k.Help)
	}
	b.WriteString("\nEach entry of `members`:\n\n| key | type | meaning |\n|---|---|---|\n")
	describeKeys(&b, memberKeys)
	b.WriteString("\n## Client profile\n\nThe commands that act as a client read a profile, as strictly:\n\n" +
		"| key | type | meaning |\n|---|---|---|\n")
	describeKeys(&b, profileKeys)
	return b.String()
}

func describeKeys(b *strings.Builder, table []Key) {
	for _, k := range table {
		optional := ""
		if !k.Required {
			optional = " (optional)"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s%s |\n", k.Name, k.Kind(), k.Help, optional)
	}
}
