package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const commandHelp = `Commands, one a line or separated by semicolons; words with blanks stand in 'single' or "double" quotes; # begins a comment:

    propose NAME VALUE  have NAME decided, perhaps as VALUE; answers what was chosen
    read NAME           what is decided for NAME, as a quorum knows it
    wait NAME           the same, as soon as there is something
    peek NAME           what the server knows, without asking the others
    forget PREFIX       forget all names that begin with PREFIX, for ever: they can't be used again
    watch               show decisions from now on, as the server learns them; watch off ends it
    status              how the servers are
    kill ID             end a server's process at once (SIGKILL)
    start ID            start its process again, on what it has on disk
    pause ID            have its process stop where it is (SIGSTOP), and
    resume ID           go on (SIGCONT)
    help, quit

    @2 read NAME        ask server 2; else it is the first that is up
    ! read NAME         the command has to fail
`

// A command is what a user wants.
type command struct {
	text  string // as it was written
	at    int    // which server is asked; 0: the first that is up
	fails bool   // it must fail
	words []string
}

// parseCommands reads a line: commands, separated by semicolons.
func parseCommands(line string) (all []command, err error) {
	for line != "" {
		words, size, err := splitWords(line)
		if err != nil {
			return nil, err
		}
		c := command{text: strings.TrimSpace(strings.TrimSuffix(line[:size], ";")), words: words}
		line = line[size:]
		if len(words) == 0 {
			continue
		}
		if c.words[0] == "!" {
			c.fails, c.words = true, c.words[1:]
		}
		if len(c.words) > 0 && strings.HasPrefix(c.words[0], "@") {
			if c.at, err = strconv.Atoi(c.words[0][1:]); err != nil || c.at < 1 {
				return nil, fmt.Errorf("%q: want @ and the ID of a server", c.words[0])
			}
			c.words = c.words[1:]
		}
		if len(c.words) == 0 {
			return nil, fmt.Errorf("%q: the command is missing", c.text)
		}
		if err := c.check(); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// splitWords returns the words of the first command of a line, and how many bytes it takes with its semicolon.
func splitWords(line string) (words []string, size int, err error) {
	var word []byte
	inWord, quote := false, byte(0)
	end := func() {
		if inWord {
			words = append(words, string(word))
		}
		word, inWord = nil, false
	}
	for i := range len(line) {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word = append(word, c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ';':
			end()
			return words, i + 1, nil
		case c == '#' && !inWord:
			return words, len(line), nil
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			end()
		default:
			word, inWord = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, 0, fmt.Errorf("a quote %c is not closed", quote)
	}
	end()
	return words, len(line), nil
}

// arguments says what each command wants.
var arguments = map[string][]string{
	"propose": {"NAME", "VALUE"}, "read": {"NAME"}, "wait": {"NAME"}, "peek": {"NAME"}, "forget": {"PREFIX"}, "watch": {}, "status": {},
	"kill": {"ID"}, "start": {"ID"}, "pause": {"ID"}, "resume": {"ID"}, "help": {}, "quit": {},
}

// check returns an error that says how the command is to be written, if it is not.
func (c command) check() error {
	want, ok := arguments[c.words[0]]
	switch {
	case !ok:
		return fmt.Errorf("there is no command %q: help lists them", c.words[0])
	case c.words[0] == "watch" && len(c.words) == 2 && c.words[1] == "off":
		return nil
	case len(c.words)-1 != len(want):
		return fmt.Errorf("want %s", strings.Join(append([]string{c.words[0]}, want...), " "))
	}
	if len(want) > 0 && want[0] == "ID" {
		if id, err := strconv.Atoi(c.words[1]); err != nil || id < 1 {
			return fmt.Errorf("%s: %q is not the ID of a server", c.words[0], c.words[1])
		}
		if c.at != 0 {
			return errors.New("@ names the server that a call goes to, and this is no call")
		}
	}
	return nil
}

// id returns the argument ID.
func (c command) id() int {
	id, _ := strconv.Atoi(c.words[1])
	return id
}
