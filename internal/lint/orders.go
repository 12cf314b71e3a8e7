package lint

import (
	"fmt"
	"slices"
	"strings"
)

// A Room is what orders.txt says of one package.
type Room struct {
	Folder string
	Prefix string   // only files whose names begin so are in the room; empty: all of the package are
	Order  []string // files: each uses only those before it
	Own    []string // types whose fields no other file uses
}

// Rooms parses the text of orders.txt, which says how it is written.
func Rooms(text string) (rooms []Room, err error) {
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#"):
		case len(fields) == 2 && fields[0] == "package":
			rooms = append(rooms, Room{Folder: fields[1]})
		case len(fields) == 3 && fields[0] == "package":
			rooms = append(rooms, Room{Folder: fields[1], Prefix: fields[2]})
		case len(rooms) > 0 && len(fields) == 2 && fields[0] == "own":
			last := &rooms[len(rooms)-1]
			last.Own = append(last.Own, fields[1])
		case len(rooms) > 0 && len(fields) == 1:
			last := &rooms[len(rooms)-1]
			last.Order = append(last.Order, fields[0])
		default:
			return nil, fmt.Errorf("line %d is no rule: %q", i+1, line)
		}
	}
	return rooms, nil
}

// Check returns what of the package breaks the rules of its room: arrows that run back, and fields used by another file.
// It is an error if the room does not list exactly its files.
func (r Room) Check(p *Package) (wrong []Arrow, err error) {
	listed := map[string]bool{}
	for _, name := range r.Order {
		if !strings.HasPrefix(name, r.Prefix) {
			return nil, fmt.Errorf("%s is in the order of %s, and does not begin with %s", name, r.Folder, r.Prefix)
		}
		listed[name] = true
	}
	for _, name := range p.Files() {
		if strings.HasPrefix(name, r.Prefix) && !listed[name] {
			return nil, fmt.Errorf("%s is not in the order of %s", name, r.Folder)
		}
		delete(listed, name)
	}
	for name := range listed {
		return nil, fmt.Errorf("%s is in the order of %s, and no file", name, r.Folder)
	}
	outside := func(a Arrow) bool { return !strings.HasPrefix(a.From, r.Prefix) || !strings.HasPrefix(a.To, r.Prefix) }
	if wrong, err = Back(slices.DeleteFunc(p.Arrows(), outside), r.Order); err != nil {
		return nil, err
	}
	for _, name := range r.Own {
		touches, err := p.Touches(name)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, touches...)
	}
	return wrong, nil
}
