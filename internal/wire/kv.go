package wire

// OpKind is an operation of the bundled key-value machine.
type OpKind uint8

const (
	OpGet OpKind = iota + 1
	OpPut
	OpDelete
	OpCompareAndSet // Compares[0] on Key decides; on success Value is put
	OpIncrement     // adds Delta, modulo 2^64, to a decimal value; an absent key counts as 0
	OpTxn           // Compares all hold: Then, else Else; no nested transactions
)

// Op is one request to the key-value machine, and one operation inside a transaction.
type Op struct {
	Kind     OpKind
	Key      []byte
	Value    []byte
	Delta    int64
	Compares []Compare
	Then     []Op
	Else     []Op
}

// CompareTarget is what a comparison looks at.
type CompareTarget uint8

const (
	CompareValue   CompareTarget = iota + 1 // the bytes; an absent key equals nothing
	CompareVersion                          // the number of writes since the key was created; 0 if absent
)

// CompareRelation is how the key's value or version must relate to the one given.
type CompareRelation uint8

const (
	Equal CompareRelation = iota + 1
	NotEqual
	Less
	Greater
)

// Compare is one condition on one key.
type Compare struct {
	Key      []byte
	Target   CompareTarget
	Relation CompareRelation
	Value    []byte
	Version  uint64
}

// OpStatus tells how an operation of the key-value machine ended. All are deterministic results.
type OpStatus uint8

const (
	OpOK            OpStatus = iota + 1
	OpCompareFailed          // nothing was written; Value and Version show what was found
	OpWrongType              // increment of a value that is not a decimal number; nothing was written
	OpTooLarge               // done, but its value is left out: the results of the transaction exceed ResultMax
)

// Result is the answer of the key-value machine to one Op.
type Result struct {
	Status    OpStatus
	Found     bool   // the key exists after the operation; for delete: existed before
	Value     []byte // value after the operation (get, increment, failed compare); else nil
	Version   uint64 // version of the key after the operation; 0 if absent
	Succeeded bool   // transactions: all compares held
	Results   []Result
}
