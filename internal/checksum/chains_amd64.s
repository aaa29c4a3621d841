#include "textflag.h"

// func chains(sum uint32, b []byte) uint32
//
// AX, R8, R9: the sums of the three stretches; SI: what is next; CX: bytes left;
// R11: words of a stretch; R10: a stretch in bytes.
TEXT ·chains(SB), NOSPLIT, $0-36
	MOVL sum+0(FP), AX
	MOVQ b_base+8(FP), SI
	MOVQ b_len+16(FP), CX

	// What follows the sum in a header is four bytes away from a word's place.
	TESTQ $4, SI
	JZ    piece
	CMPQ  CX, $4
	JB    tail
	CRC32L (SI), AX
	ADDQ  $4, SI
	SUBQ  $4, CX

piece:
	MOVQ CX, DX
	SHRQ $3, DX  // words
	CMPQ DX, $12 // fewer are not worth it
	JB   words
	CMPQ DX, $384 // pieceWords
	JBE  divide
	MOVQ $384, DX

divide:
	// A third, rounded down: DX is small.
	IMUL3Q $43691, DX, R11
	SHRQ   $17, R11
	LEAQ   (R11)(R11*2), BX // words of three stretches
	SHLQ   $3, BX
	SUBQ   BX, CX

	// The constants that move the first on by two stretches, and the second by one.
	LEAQ ·moves(SB), DI
	LEAQ (R11)(R11*1), BX
	MOVL (DI)(BX*4), X2
	MOVL (DI)(R11*4), X3

	MOVQ R11, R10
	SHLQ $3, R10
	XORL R8, R8
	XORL R9, R9
	LEAQ (SI)(R10*2), DX // the third stretch

three:
	CRC32Q (SI), AX
	CRC32Q (SI)(R10*1), R8
	CRC32Q (DX), R9
	ADDQ   $8, SI
	ADDQ   $8, DX
	DECQ   R11
	JNZ    three

	MOVQ      AX, X0
	MOVQ      R8, X1
	PCLMULQDQ $0, X2, X0
	PCLMULQDQ $0, X3, X1
	PXOR      X1, X0
	MOVQ      X0, BX
	XORL      AX, AX
	CRC32Q    BX, AX
	XORL      R9, AX
	MOVQ      DX, SI
	JMP       piece

words:
	TESTQ DX, DX
	JZ    tail

word:
	CRC32Q (SI), AX
	ADDQ   $8, SI
	DECQ   DX
	JNZ    word
	ANDQ   $7, CX

tail:
	TESTQ $4, CX
	JZ    two
	CRC32L (SI), AX
	ADDQ  $4, SI

two:
	TESTQ $2, CX
	JZ    one
	CRC32W (SI), AX
	ADDQ  $2, SI

one:
	TESTQ $1, CX
	JZ    done
	CRC32B (SI), AX

done:
	MOVL AX, ret+32(FP)
	RET
