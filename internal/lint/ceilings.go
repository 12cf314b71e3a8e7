package lint

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// AnyPlace stands in ceilings.txt for every place that has no line of its own.
const AnyPlace = "*"

func folder(name string) string { return path.Dir(name) }

func sortCounts(all []Count) {
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Place, b.Place)) })
}

// Ceilings are the bounds of counts, by counter and place.
type Ceilings map[[2]string]int

// ParseCeilings parses the text of ceilings.txt: "COUNTER PLACE NUMBER" a line, and comments that begin with "#".
func ParseCeilings(text string) (Ceilings, error) {
	c := Ceilings{}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := 0, errors.New("three words are needed")
		if len(fields) == 3 {
			n, err = strconv.Atoi(fields[2])
		}
		if err != nil || n < 0 {
			return nil, fmt.Errorf("line %d is no ceiling: %q: %w", i+1, line, err)
		}
		key := [2]string{fields[0], fields[1]}
		if _, twice := c[key]; twice {
			return nil, fmt.Errorf("line %d: %s %s is there twice", i+1, key[0], key[1])
		}
		c[key] = n
	}
	return c, nil
}

// of returns the ceiling of a counter at a place. Without a line for the place, that of AnyPlace, and without that 0.
func (c Ceilings) of(counter, place string) int {
	if n, ok := c[[2]string{counter, place}]; ok {
		return n
	}
	return c[[2]string{counter, AnyPlace}]
}

// Above returns the counts that are above their ceiling.
func (c Ceilings) Above(all []Count) (above []Count) {
	for _, count := range all {
		if count.N > c.of(count.Counter, count.Place) {
			above = append(above, count)
		}
	}
	return above
}

// Needless returns the exceptions that no limit needs any more: their place is gone, or within the limit.
func (c Ceilings) Needless(all []Count) (lines []string) {
	lower, _ := c.Lower(all)
	for key := range c {
		if _, needed := lower[key]; !needed && slices.Contains(limited, key[0]) {
			lines = append(lines, key[0]+" "+key[1])
		}
	}
	slices.Sort(lines)
	return lines
}

// Lower returns the lowest ceilings: each is its count. That of AnyPlace is 0, but a limit stays, without the exceptions that need none.
// No ceiling rises. lowered says in words which lines fall.
func (c Ceilings) Lower(all []Count) (lower Ceilings, lowered []string) {
	lower = Ceilings{}
	limit := map[string]int{}
	for _, counter := range limited {
		if n := c.of(counter, AnyPlace); n > 0 {
			lower[[2]string{counter, AnyPlace}], limit[counter] = n, n
		}
	}
	for _, count := range all {
		n := min(count.N, c.of(count.Counter, count.Place))
		if n > limit[count.Counter] {
			lower[[2]string{count.Counter, count.Place}] = n
		}
	}
	for key, ceiling := range c {
		if n := lower.of(key[0], key[1]); n < ceiling {
			lowered = append(lowered, fmt.Sprintf("%s %s: from %d to %d", key[0], key[1], ceiling, n))
		}
	}
	slices.Sort(lowered)
	return lower, lowered
}

// Text writes the lines of the ceilings, as ParseCeilings reads them.
func (c Ceilings) Text() string {
	var lines []string
	for key, n := range c {
		lines = append(lines, fmt.Sprintf("%-14s %-61s %d\n", key[0], key[1], n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
