//go:build !linux

package cluster

func mountTemporary(string) error { return ErrCannotMount }

func (d *Disk) unmount() error { return nil }

func freeBytes(string) (uint64, error) { return 0, ErrCannotMount }
