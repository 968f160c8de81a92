package failure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
)

// disks fill, lose, age and damage what a replica has stored. A replica that has forgotten what it
// promised must say so and not take part; one that has not must.
var disks = []Failure{
	{Name: "disk-full", OwnDisks: true, Inject: diskFull},
	{Name: "old-copy", Inject: oldCopy},
	{Name: "wiped", Inject: wiped},
	{Name: "bit-flip", Inject: damaged("bits flipped", flipBit)},
	{Name: "torn-file", Inject: damaged("files torn", tear)},
}

// diskFull fills the disk of one replica, and then those of all.
func diskFull(ctx context.Context, e *Env) error {
	for _, victims := range [][]*cluster.Replica{{e.victim()}, e.Cluster.Replicas} {
		for _, r := range victims {
			if err := r.Disk.Fill(); err != nil {
				return err
			}
		}
		if err := e.awaitFull(ctx, victims); err != nil {
			return err
		}
		e.Faults["disks filled"] += len(victims)
		if len(victims) == 1 { // the others go on
			if err := errors.Join(e.work(ctx), e.failOver(ctx, victims)); err != nil {
				return err
			}
		}
		for _, r := range victims {
			if err := r.Disk.Empty(); err != nil {
				return err
			}
		}
		if err := e.AllServe(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitFull waits until the replicas say that they take no work.
func (e *Env) awaitFull(ctx context.Context, victims []*cluster.Replica) error {
	for _, r := range victims {
		for {
			status, err := e.Load.Status(ctx, r.ID)
			if err == nil && status.NoRoom != "" {
				break
			}
			if !cluster.Sleep(ctx) {
				return fmt.Errorf("violation of progress: replica %d does not say that its disk is full: %w",
					r.ID, errors.Join(err, context.Cause(ctx)))
			}
		}
	}
	return nil
}

// refuses starts a replica that must end by itself and say something.
func (e *Env) refuses(ctx context.Context, r *cluster.Replica, says string) error {
	before, err := r.Log()
	if err != nil {
		return err
	}
	if err := r.Launch(); err != nil {
		return err
	}
	code, err := r.Wait(ctx)
	if err != nil {
		return fmt.Errorf("violation of durability: replica %d takes part on what it must refuse: %w",
			r.ID, errors.Join(err, r.Kill()))
	}
	after, err := r.Log()
	if err != nil {
		return err
	}
	want := 1
	if says == retired {
		want = cluster.Retired
	}
	if said := after[len(before):]; code != want || !strings.Contains(said, says) {
		return fmt.Errorf("violation of integrity: replica %d ended with %d and does not say %q:\n%s", r.ID, code, says, said)
	}
	e.Faults["refusals"]++
	return nil
}

// retired is part of what a replica says that must never start on its directory again.
const retired = "Do not start it on this directory again"

// oldCopy starts a replica on copies of its directory: as it was when the load began, and as it was
// before its last life. The others remember what it promised since.
func oldCopy(ctx context.Context, e *Env) error {
	r := e.victim()
	names := []string{"first", "second"}
	for _, name := range names {
		if code, err := r.Terminate(ctx); err != nil || code != 0 {
			return fmt.Errorf("replica %d was told to end, and exited with %d: %w", r.ID, code, err)
		}
		if err := r.CopyData(name); err != nil {
			return err
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
		if err := e.serves(ctx, r); err != nil {
			return err
		}
	}
	return e.replaced(ctx, r, func() error {
		for _, name := range names {
			if err := r.Restore(name); err != nil {
				return err
			}
			e.Faults["old copies"]++
			if err := e.refuses(ctx, r, retired); err != nil {
				return err
			}
		}
		return nil
	})
}

// wiped starts a replica on nothing, where its directory was.
func wiped(ctx context.Context, e *Env) error {
	r := e.victim()
	return e.replaced(ctx, r, func() error {
		if err := r.Wipe(); err != nil {
			return err
		}
		e.Faults["directories wiped"]++
		return e.refuses(ctx, r, "data directory is empty")
	})
}

// replaced kills a replica, does something to its directory, lets the others work, and puts the
// directory back as it was.
func (e *Env) replaced(ctx context.Context, r *cluster.Replica, do func() error) error {
	if err := r.Kill(); err != nil {
		return err
	}
	e.Faults["kills"]++
	if err := r.CopyData("present"); err != nil {
		return err
	}
	if err := errors.Join(do(), e.work(ctx)); err != nil {
		return err
	}
	if r.Running() {
		if err := r.Kill(); err != nil {
			return err
		}
	}
	if err := r.Restore("present"); err != nil {
		return err
	}
	if err := r.Start(ctx); err != nil {
		return err
	}
	return e.serves(ctx, r)
}

// damaged starts a replica again and again on a directory with one damage each. Either it refuses,
// with reasons, and goes on with the directory as it was; or the damage does not matter and it goes
// on with that, and everything that it says is checked at the end, like anything else.
func damaged(name string, damage func(e *Env, path string) error) func(context.Context, *Env) error {
	return func(ctx context.Context, e *Env) error {
		r := e.victim()
		for i := range 4 {
			if err := r.Kill(); err != nil {
				return err
			}
			e.Faults["kills"]++
			sound := fmt.Sprint("sound ", i)
			if err := r.CopyData(sound); err != nil {
				return err
			}
			path, err := e.drawFile(r.Data)
			if err != nil {
				return err
			}
			if err := damage(e, path); err != nil {
				return err
			}
			e.Faults[name]++
			refused, err := e.refusesOrServes(ctx, r, path)
			if err != nil {
				return err
			}
			if !refused {
				continue
			}
			if err := errors.Join(e.work(ctx), r.Restore(sound), r.Start(ctx)); err != nil {
				return err
			}
			if err := e.serves(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

// drawFile picks a file that holds something: every other time the one that holds most, which is the
// log, or else any.
func (e *Env) drawFile(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var files []string
	most, largest := 0, ""
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if n := used(content); n > 0 {
			files = append(files, path)
			if n > most {
				most, largest = n, path
			}
		}
	}
	switch {
	case len(files) == 0:
		return "", fmt.Errorf("there is nothing to damage in %s", dir)
	case e.Random.IntN(2) == 0:
		return largest, nil
	}
	return files[e.Random.IntN(len(files))], nil
}

// used is how much of a file is more than zeros at its end: logs are longer than what they hold.
func used(content []byte) int { return len(bytes.TrimRight(content, "\x00")) }

// flipBit changes one bit of what a file holds.
func flipBit(e *Env, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := e.Random.IntN(max(used(content), 1))
	content[at] ^= 1 << e.Random.IntN(8)
	return os.WriteFile(path, content, 0o600)
}

// tear cuts a file short, somewhere in what it holds.
func tear(e *Env, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, int64(e.Random.IntN(max(used(content), 1))))
}

// operationsSound is how many operations a replica answers on a damaged directory before it counts
// as one that accepts it: enough that by then all of its peers have told what they remember of it.
const operationsSound = 25

// refusesOrServes starts a replica on a damaged directory.
func (e *Env) refusesOrServes(ctx context.Context, r *cluster.Replica, path string) (refused bool, err error) {
	before, err := r.Log()
	if err != nil {
		return false, err
	}
	if err := r.Launch(); err != nil {
		return false, err
	}
	for served := e.Load.Served(r.ID); r.Running(); {
		if e.Load.Served(r.ID) >= served+operationsSound {
			e.Faults["damages that did not matter"]++
			return false, r.MustLive()
		}
		if !cluster.Sleep(ctx) {
			return false, fmt.Errorf("violation of progress: replica %d neither refuses nor serves with a damaged %s: %w",
				r.ID, filepath.Base(path), context.Cause(ctx))
		}
	}
	code, err := r.Wait(ctx)
	if err != nil {
		return false, err
	}
	after, err := r.Log()
	if err != nil {
		return false, err
	}
	if said := after[len(before):]; code != 1 && code != cluster.Retired || !strings.Contains(said, "What to do:") {
		return false, fmt.Errorf("violation of integrity: replica %d ended with %d on a damaged %s, and does not say "+
			"what to do:\n%s", r.ID, code, filepath.Base(path), said)
	}
	e.Faults["refusals"]++
	return true, nil
}
