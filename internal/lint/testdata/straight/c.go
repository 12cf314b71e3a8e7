package straight

func use() string {
	a := &heap[int]{}
	a.push(1)
	return line{a}.String()
}
