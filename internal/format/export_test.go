package format

// Valid reports whether the byte can stand in the extent table.
func (c Class) Valid() bool {
	return int(c) < NumClasses || c == ClassRun || c == ClassRunRest || c == ClassHole
}
