package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

const commandHelp = `Commands, one a line or separated by semicolons; words with blanks stand in 'single' or "double" quotes; # begins a comment:

    propose NAME VALUE  have NAME decided, perhaps as VALUE; answers what was chosen
    read NAME           what is decided for NAME, as a quorum knows it
    wait NAME           the same, as soon as there is something
    peek NAME           what the server knows, without asking the others
    forget PREFIX       forget all names that begin with PREFIX, for ever: they can't be used again
    watch               show decisions from now on, as the server learns them; watch off ends it
    status              how the servers are
    members             who the members are, where they are reached, and how far the last change is
    add ID ADDRESS      make a new server a member: a learner at first, and an acceptor when it has caught up
    replace ID NEW ADDRESS  put a new server in the place of an acceptor, which may be lost
    remove ID           have a member leave, for good
    kill ID             end a server's process at once (SIGKILL)
    start ID            start its process again, on what it has on disk
    pause ID            have its process stop where it is (SIGSTOP), and
    resume ID           go on (SIGCONT)
    help, quit

    @2 read NAME        ask server 2; else it is the first that is up
    ! read NAME         the command has to fail

A new server takes an ID that was never used. On this machine, add and replace make it, and take no ADDRESS. A change that was interrupted
is gone on with by the same command. It waits as long as the change goes on, and ends with an error after three times -timeout without
progress.
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
	"members": {}, "add": {"ID", "[ADDRESS]"}, "replace": {"ID", "NEW", "[ADDRESS]"}, "remove": {"ID"},
}

// isChange reports whether the command changes the members.
func (c command) isChange() bool {
	return c.words[0] == "add" || c.words[0] == "replace" || c.words[0] == "remove"
}

// check returns an error that says how the command is to be written, if it is not.
func (c command) check() error {
	want, ok := arguments[c.words[0]]
	given := c.words[1:]
	most := len(want)
	least := most
	if most > 0 && strings.HasPrefix(want[most-1], "[") {
		least--
	}
	switch {
	case !ok:
		return fmt.Errorf("there is no command %q: help lists them", c.words[0])
	case c.words[0] == "watch" && len(given) == 1 && given[0] == "off":
		return nil
	case len(given) < least || len(given) > most:
		return fmt.Errorf("want %s", strings.Join(append([]string{c.words[0]}, want...), " "))
	}
	for i, word := range given {
		switch want[i] {
		case "ID", "NEW":
			if id, err := strconv.Atoi(word); err != nil || id < 1 {
				return fmt.Errorf("%s: %q is not the ID of a server", c.words[0], word)
			}
		case "[ADDRESS]":
			if err := checkAddr(word); err != nil {
				return fmt.Errorf("%s: %w", c.words[0], err)
			}
		}
	}
	if c.at != 0 && len(want) > 0 && want[0] == "ID" && !c.isChange() {
		return errors.New("@ names the server that a call goes to, and this is no call")
	}
	return nil
}

// number returns an argument that is the ID of a server.
func (c command) number(i int) paxos.ServerID {
	id, _ := strconv.Atoi(c.words[i])
	return paxos.ServerID(id)
}
