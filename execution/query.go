package execution

import "github.com/264bc8cf/epaxos/epaxos"

// Query carries out one request that only reads, on a state that is no replica's newest, such as a storage.Past. The
// footprint is the machine's for that payload. It may be called while the machine is used elsewhere, see StateMachine.
func Query(state Reader, m StateMachine, footprint epaxos.Footprint, payload []byte) (result []byte, err error) {
	return NewState(state).Run(m, footprint, payload)
}
