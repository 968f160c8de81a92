// Package prompt reads the lines of a dialogue: with editing, history and completion at a terminal, plainly from
// anywhere else. It cuts them into words as a shell does.
//
// The editor is golang.org/x/term (decision record 0023). What that lacks is here: Ctrl-C ends the line and not the
// program, history lives in a file, and Tab asks for candidates.
//
// What is absent: editing over several lines, search in the history, colours.
package prompt
