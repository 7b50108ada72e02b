//go:build !linux

package watch

// writers cannot be told here: a file is settled when it stands still.
func writers(string) sight { return untold }
