package execution

import (
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

// WindowsAgree compares what is known of sessions by heart with what the state says.
func (s *State) WindowsAgree(ids []epaxos.InstanceID) error {
	for _, id := range ids {
		known := s.windows[id]
		delete(s.windows, id)
		told, err := s.window(id)
		switch {
		case err != nil:
			return err
		case known != nil && told == nil:
			return fmt.Errorf("violation of once: session %v is gone, and known by heart", id)
		case known != nil && *known != *told:
			return fmt.Errorf("violation of once: of session %v is known %+v, the state says %+v", id, *known, *told)
		}
	}
	return nil
}
