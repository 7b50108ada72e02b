package control

// Error is the agent's refusal of a request.
type Error struct {
	// Code is stable and for programs, such as "no-such-clone".
	Code string `json:"code"`
	Text string `json:"text"`
	// Fix is the next step for the person; it may be empty.
	Fix string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// Hint says what the person can do; it may be empty.
func (e *Error) Hint() string { return e.Fix }

// ErrNotRunning says that no agent answers on the socket.
var ErrNotRunning error = notRunning{}

type notRunning struct{}

func (notRunning) Error() string { return "no agent is running" }
func (notRunning) Hint() string  { return "git arbor agent" }
