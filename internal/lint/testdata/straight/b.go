package straight

import "fmt"

type line struct{ of *heap[int] }

func (l line) String() string { return fmt.Sprint(l.of.Count) } // a field makes no arrow, but it is a touch
