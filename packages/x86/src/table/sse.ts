/**
 * SSE to SSE4.2, AES, PCLMULQDQ and SHA on XMM registers; notation as in
 * `integer.ts`. PCMPESTRI64 and PCMPESTRM64 are the forms with REX.W, whose
 * lengths are 64 bits wide; the blends name XMM0 only in the manual, as it can
 * be no other register.
 */
export const SSE = `
# Moves
NP 0F 10 /r      MOVUPS Vps,Wps
NP 0F 11 /r      MOVUPS Wps,Vps
66 0F 10 /r      MOVUPD Vpd,Wpd
66 0F 11 /r      MOVUPD Wpd,Vpd
F3 0F 10 /r      MOVSS Vss,Wss
F3 0F 11 /r      MOVSS Wss,Vss
F2 0F 10 /r      MOVSD Vsd,Wsd
F2 0F 11 /r      MOVSD Wsd,Vsd
NP 0F 12 /r      MOVHLPS Vq,Uq                reg
NP 0F 12 /r      MOVLPS Vq,Mq                 mem
66 0F 12 /r      MOVLPD Vq,Mq
F2 0F 12 /r      MOVDDUP Vq,Wq
F3 0F 12 /r      MOVSLDUP Vps,Wps
NP 0F 13 /r      MOVLPS Mq,Vq
66 0F 13 /r      MOVLPD Mq,Vq
NP 0F 14 /r      UNPCKLPS Vps,Wps
66 0F 14 /r      UNPCKLPD Vpd,Wpd
NP 0F 15 /r      UNPCKHPS Vps,Wps
66 0F 15 /r      UNPCKHPD Vpd,Wpd
NP 0F 16 /r      MOVLHPS Vq,Uq                reg
NP 0F 16 /r      MOVHPS Vq,Mq                 mem
66 0F 16 /r      MOVHPD Vq,Mq
F3 0F 16 /r      MOVSHDUP Vps,Wps
NP 0F 17 /r      MOVHPS Mq,Vq
66 0F 17 /r      MOVHPD Mq,Vq
NP 0F 28 /r      MOVAPS Vps,Wps
NP 0F 29 /r      MOVAPS Wps,Vps
NP 0F 2B /r      MOVNTPS Mps,Vps
NP 0F 50 /r      MOVMSKPS Gd,Ups
66 0F 28 /r      MOVAPD Vpd,Wpd
66 0F 29 /r      MOVAPD Wpd,Vpd
66 0F 2B /r      MOVNTPD Mpd,Vpd
66 0F 50 /r      MOVMSKPD Gd,Upd
66 0F 6E /r      MOVD Vdq,Ey
66 0F 7E /r      MOVD Ey,Vdq
F3 0F 7E /r      MOVQ Vq,Wq
66 0F D6 /r      MOVQ Wq,Vq
66 0F 6F /r      MOVDQA Vdq,Wdq
66 0F 7F /r      MOVDQA Wdq,Vdq
F3 0F 6F /r      MOVDQU Vdq,Wdq
F3 0F 7F /r      MOVDQU Wdq,Vdq
F3 0F D6 /r      MOVQ2DQ Vdq,Nq
F2 0F D6 /r      MOVDQ2Q Pq,Uq
NP 0F C3 /r      MOVNTI My,Gy
66 0F E7 /r      MOVNTDQ Mdq,Vdq
66 0F F7 /r      MASKMOVDQU Vdq,Udq
F2 0F F0 /r      LDDQU Vdq,Mdq
66 0F D7 /r      PMOVMSKB Gd,Udq
66 0F C4 /r      PINSRW Vdq,Ew,Ib
66 0F C5 /r      PEXTRW Gd,Udq,Ib
NP 0F C6 /r      SHUFPS Vps,Wps,Ib
66 0F C6 /r      SHUFPD Vpd,Wpd,Ib
66 0F 70 /r      PSHUFD Vdq,Wdq,Ib
F3 0F 70 /r      PSHUFHW Vdq,Wdq,Ib
F2 0F 70 /r      PSHUFLW Vdq,Wdq,Ib
# Floating-point arithmetic
NP 0F 54 /r      ANDPS Vps,Wps
66 0F 54 /r      ANDPD Vpd,Wpd
NP 0F 55 /r      ANDNPS Vps,Wps
66 0F 55 /r      ANDNPD Vpd,Wpd
NP 0F 56 /r      ORPS Vps,Wps
66 0F 56 /r      ORPD Vpd,Wpd
NP 0F 57 /r      XORPS Vps,Wps
66 0F 57 /r      XORPD Vpd,Wpd
NP 0F 51 /r      SQRTPS Vps,Wps
66 0F 51 /r      SQRTPD Vpd,Wpd
F3 0F 51 /r      SQRTSS Vss,Wss
F2 0F 51 /r      SQRTSD Vsd,Wsd
NP 0F 58 /r      ADDPS Vps,Wps
66 0F 58 /r      ADDPD Vpd,Wpd
F3 0F 58 /r      ADDSS Vss,Wss
F2 0F 58 /r      ADDSD Vsd,Wsd
NP 0F 59 /r      MULPS Vps,Wps
66 0F 59 /r      MULPD Vpd,Wpd
F3 0F 59 /r      MULSS Vss,Wss
F2 0F 59 /r      MULSD Vsd,Wsd
NP 0F 5C /r      SUBPS Vps,Wps
66 0F 5C /r      SUBPD Vpd,Wpd
F3 0F 5C /r      SUBSS Vss,Wss
F2 0F 5C /r      SUBSD Vsd,Wsd
NP 0F 5D /r      MINPS Vps,Wps
66 0F 5D /r      MINPD Vpd,Wpd
F3 0F 5D /r      MINSS Vss,Wss
F2 0F 5D /r      MINSD Vsd,Wsd
NP 0F 5E /r      DIVPS Vps,Wps
66 0F 5E /r      DIVPD Vpd,Wpd
F3 0F 5E /r      DIVSS Vss,Wss
F2 0F 5E /r      DIVSD Vsd,Wsd
NP 0F 5F /r      MAXPS Vps,Wps
66 0F 5F /r      MAXPD Vpd,Wpd
F3 0F 5F /r      MAXSS Vss,Wss
F2 0F 5F /r      MAXSD Vsd,Wsd
NP 0F 52 /r      RSQRTPS Vps,Wps
F3 0F 52 /r      RSQRTSS Vss,Wss
NP 0F 53 /r      RCPPS Vps,Wps
F3 0F 53 /r      RCPSS Vss,Wss
NP 0F C2 /r      CMPPS Vps,Wps,Ib
66 0F C2 /r      CMPPD Vpd,Wpd,Ib
F3 0F C2 /r      CMPSS Vss,Wss,Ib
F2 0F C2 /r      CMPSD Vsd,Wsd,Ib
NP 0F 2E /r      UCOMISS Vss,Wss
66 0F 2E /r      UCOMISD Vsd,Wsd
NP 0F 2F /r      COMISS Vss,Wss
66 0F 2F /r      COMISD Vsd,Wsd
66 0F 7C /r      HADDPD Vpd,Wpd
F2 0F 7C /r      HADDPS Vps,Wps
66 0F 7D /r      HSUBPD Vpd,Wpd
F2 0F 7D /r      HSUBPS Vps,Wps
66 0F D0 /r      ADDSUBPD Vpd,Wpd
F2 0F D0 /r      ADDSUBPS Vps,Wps
# Conversions
NP 0F 2A /r      CVTPI2PS Vps,Qq
66 0F 2A /r      CVTPI2PD Vpd,Qq
F3 0F 2A /r      CVTSI2SS Vss,Ey
F2 0F 2A /r      CVTSI2SD Vsd,Ey
NP 0F 2C /r      CVTTPS2PI Pq,Wq
66 0F 2C /r      CVTTPD2PI Pq,Wpd
F3 0F 2C /r      CVTTSS2SI Gy,Wss
F2 0F 2C /r      CVTTSD2SI Gy,Wsd
NP 0F 2D /r      CVTPS2PI Pq,Wq
66 0F 2D /r      CVTPD2PI Pq,Wpd
F3 0F 2D /r      CVTSS2SI Gy,Wss
F2 0F 2D /r      CVTSD2SI Gy,Wsd
NP 0F 5A /r      CVTPS2PD Vpd,Wq
66 0F 5A /r      CVTPD2PS Vps,Wpd
F3 0F 5A /r      CVTSS2SD Vsd,Wss
F2 0F 5A /r      CVTSD2SS Vss,Wsd
NP 0F 5B /r      CVTDQ2PS Vps,Wdq
66 0F 5B /r      CVTPS2DQ Vdq,Wps
F3 0F 5B /r      CVTTPS2DQ Vdq,Wps
66 0F E6 /r      CVTTPD2DQ Vdq,Wpd
F3 0F E6 /r      CVTDQ2PD Vpd,Wq
F2 0F E6 /r      CVTPD2DQ Vdq,Wpd
# Integers
66 0F 60 /r      PUNPCKLBW Vdq,Wdq
66 0F 61 /r      PUNPCKLWD Vdq,Wdq
66 0F 62 /r      PUNPCKLDQ Vdq,Wdq
66 0F 63 /r      PACKSSWB Vdq,Wdq
66 0F 64 /r      PCMPGTB Vdq,Wdq
66 0F 65 /r      PCMPGTW Vdq,Wdq
66 0F 66 /r      PCMPGTD Vdq,Wdq
66 0F 67 /r      PACKUSWB Vdq,Wdq
66 0F 68 /r      PUNPCKHBW Vdq,Wdq
66 0F 69 /r      PUNPCKHWD Vdq,Wdq
66 0F 6A /r      PUNPCKHDQ Vdq,Wdq
66 0F 6B /r      PACKSSDW Vdq,Wdq
66 0F 6C /r      PUNPCKLQDQ Vdq,Wdq
66 0F 6D /r      PUNPCKHQDQ Vdq,Wdq
66 0F 74 /r      PCMPEQB Vdq,Wdq
66 0F 75 /r      PCMPEQW Vdq,Wdq
66 0F 76 /r      PCMPEQD Vdq,Wdq
66 0F D1 /r      PSRLW Vdq,Wdq
66 0F D2 /r      PSRLD Vdq,Wdq
66 0F D3 /r      PSRLQ Vdq,Wdq
66 0F D4 /r      PADDQ Vdq,Wdq
66 0F D5 /r      PMULLW Vdq,Wdq
66 0F D8 /r      PSUBUSB Vdq,Wdq
66 0F D9 /r      PSUBUSW Vdq,Wdq
66 0F DA /r      PMINUB Vdq,Wdq
66 0F DB /r      PAND Vdq,Wdq
66 0F DC /r      PADDUSB Vdq,Wdq
66 0F DD /r      PADDUSW Vdq,Wdq
66 0F DE /r      PMAXUB Vdq,Wdq
66 0F DF /r      PANDN Vdq,Wdq
66 0F E0 /r      PAVGB Vdq,Wdq
66 0F E1 /r      PSRAW Vdq,Wdq
66 0F E2 /r      PSRAD Vdq,Wdq
66 0F E3 /r      PAVGW Vdq,Wdq
66 0F E4 /r      PMULHUW Vdq,Wdq
66 0F E5 /r      PMULHW Vdq,Wdq
66 0F E8 /r      PSUBSB Vdq,Wdq
66 0F E9 /r      PSUBSW Vdq,Wdq
66 0F EA /r      PMINSW Vdq,Wdq
66 0F EB /r      POR Vdq,Wdq
66 0F EC /r      PADDSB Vdq,Wdq
66 0F ED /r      PADDSW Vdq,Wdq
66 0F EE /r      PMAXSW Vdq,Wdq
66 0F EF /r      PXOR Vdq,Wdq
66 0F F1 /r      PSLLW Vdq,Wdq
66 0F F2 /r      PSLLD Vdq,Wdq
66 0F F3 /r      PSLLQ Vdq,Wdq
66 0F F4 /r      PMULUDQ Vdq,Wdq
66 0F F5 /r      PMADDWD Vdq,Wdq
66 0F F6 /r      PSADBW Vdq,Wdq
66 0F F8 /r      PSUBB Vdq,Wdq
66 0F F9 /r      PSUBW Vdq,Wdq
66 0F FA /r      PSUBD Vdq,Wdq
66 0F FB /r      PSUBQ Vdq,Wdq
66 0F FC /r      PADDB Vdq,Wdq
66 0F FD /r      PADDW Vdq,Wdq
66 0F FE /r      PADDD Vdq,Wdq
66 0F 71 /2      PSRLW Udq,Ib
66 0F 71 /4      PSRAW Udq,Ib
66 0F 71 /6      PSLLW Udq,Ib
66 0F 72 /2      PSRLD Udq,Ib
66 0F 72 /4      PSRAD Udq,Ib
66 0F 72 /6      PSLLD Udq,Ib
66 0F 73 /2      PSRLQ Udq,Ib
66 0F 73 /3      PSRLDQ Udq,Ib
66 0F 73 /6      PSLLQ Udq,Ib
66 0F 73 /7      PSLLDQ Udq,Ib
# SSSE3
66 0F 38 00 /r   PSHUFB Vdq,Wdq
66 0F 38 01 /r   PHADDW Vdq,Wdq
66 0F 38 02 /r   PHADDD Vdq,Wdq
66 0F 38 03 /r   PHADDSW Vdq,Wdq
66 0F 38 04 /r   PMADDUBSW Vdq,Wdq
66 0F 38 05 /r   PHSUBW Vdq,Wdq
66 0F 38 06 /r   PHSUBD Vdq,Wdq
66 0F 38 07 /r   PHSUBSW Vdq,Wdq
66 0F 38 08 /r   PSIGNB Vdq,Wdq
66 0F 38 09 /r   PSIGNW Vdq,Wdq
66 0F 38 0A /r   PSIGND Vdq,Wdq
66 0F 38 0B /r   PMULHRSW Vdq,Wdq
66 0F 38 1C /r   PABSB Vdq,Wdq
66 0F 38 1D /r   PABSW Vdq,Wdq
66 0F 38 1E /r   PABSD Vdq,Wdq
66 0F 3A 0F /r   PALIGNR Vdq,Wdq,Ib
# SSE4.1, SSE4.2
66 0F 38 10 /r   PBLENDVB Vdq,Wdq
66 0F 38 14 /r   BLENDVPS Vdq,Wdq
66 0F 38 15 /r   BLENDVPD Vdq,Wdq
66 0F 38 17 /r   PTEST Vdq,Wdq
66 0F 38 28 /r   PMULDQ Vdq,Wdq
66 0F 38 29 /r   PCMPEQQ Vdq,Wdq
66 0F 38 2B /r   PACKUSDW Vdq,Wdq
66 0F 38 37 /r   PCMPGTQ Vdq,Wdq
66 0F 38 38 /r   PMINSB Vdq,Wdq
66 0F 38 39 /r   PMINSD Vdq,Wdq
66 0F 38 3A /r   PMINUW Vdq,Wdq
66 0F 38 3B /r   PMINUD Vdq,Wdq
66 0F 38 3C /r   PMAXSB Vdq,Wdq
66 0F 38 3D /r   PMAXSD Vdq,Wdq
66 0F 38 3E /r   PMAXUW Vdq,Wdq
66 0F 38 3F /r   PMAXUD Vdq,Wdq
66 0F 38 40 /r   PMULLD Vdq,Wdq
66 0F 38 41 /r   PHMINPOSUW Vdq,Wdq
66 0F 38 2A /r   MOVNTDQA Vdq,Mdq
66 0F 38 20 /r   PMOVSXBW Vdq,Wq
66 0F 38 30 /r   PMOVZXBW Vdq,Wq
66 0F 38 21 /r   PMOVSXBD Vdq,Wd
66 0F 38 31 /r   PMOVZXBD Vdq,Wd
66 0F 38 22 /r   PMOVSXBQ Vdq,Ww
66 0F 38 32 /r   PMOVZXBQ Vdq,Ww
66 0F 38 23 /r   PMOVSXWD Vdq,Wq
66 0F 38 33 /r   PMOVZXWD Vdq,Wq
66 0F 38 24 /r   PMOVSXWQ Vdq,Wd
66 0F 38 34 /r   PMOVZXWQ Vdq,Wd
66 0F 38 25 /r   PMOVSXDQ Vdq,Wq
66 0F 38 35 /r   PMOVZXDQ Vdq,Wq
66 0F 3A 08 /r   ROUNDPS Vps,Wps,Ib
66 0F 3A 09 /r   ROUNDPD Vpd,Wpd,Ib
66 0F 3A 0A /r   ROUNDSS Vss,Wss,Ib
66 0F 3A 0B /r   ROUNDSD Vsd,Wsd,Ib
66 0F 3A 0C /r   BLENDPS Vps,Wps,Ib
66 0F 3A 0D /r   BLENDPD Vpd,Wpd,Ib
66 0F 3A 0E /r   PBLENDW Vdq,Wdq,Ib
66 0F 3A 14 /r   PEXTRB Rd,Vdq,Ib             reg
66 0F 3A 14 /r   PEXTRB Mb,Vdq,Ib             mem
66 0F 3A 15 /r   PEXTRW Rd,Vdq,Ib             reg
66 0F 3A 15 /r   PEXTRW Mw,Vdq,Ib             mem
66 0F 3A 16 /r   PEXTRD Ey,Vdq,Ib
66 0F 3A 17 /r   EXTRACTPS Ed,Vdq,Ib
66 0F 3A 20 /r   PINSRB Vdq,Rd,Ib             reg
66 0F 3A 20 /r   PINSRB Vdq,Mb,Ib             mem
66 0F 3A 21 /r   INSERTPS Vdq,Wd,Ib
66 0F 3A 22 /r   PINSRD Vdq,Ey,Ib
66 0F 3A 40 /r   DPPS Vdq,Wdq,Ib
66 0F 3A 41 /r   DPPD Vdq,Wdq,Ib
66 0F 3A 42 /r   MPSADBW Vdq,Wdq,Ib
66 0F 3A 60 /r   PCMPESTRM Vdq,Wdq,Ib         W0
66 0F 3A 60 /r   PCMPESTRM64 Vdq,Wdq,Ib       W1
66 0F 3A 61 /r   PCMPESTRI Vdq,Wdq,Ib         W0
66 0F 3A 61 /r   PCMPESTRI64 Vdq,Wdq,Ib       W1
66 0F 3A 62 /r   PCMPISTRM Vdq,Wdq,Ib
66 0F 3A 63 /r   PCMPISTRI Vdq,Wdq,Ib
# AES, PCLMULQDQ, SHA
66 0F 38 DB /r   AESIMC Vdq,Wdq
66 0F 38 DC /r   AESENC Vdq,Wdq
66 0F 38 DD /r   AESENCLAST Vdq,Wdq
66 0F 38 DE /r   AESDEC Vdq,Wdq
66 0F 38 DF /r   AESDECLAST Vdq,Wdq
66 0F 3A DF /r   AESKEYGENASSIST Vdq,Wdq,Ib
66 0F 3A 44 /r   PCLMULQDQ Vdq,Wdq,Ib
NP 0F 38 C8 /r   SHA1NEXTE Vdq,Wdq
NP 0F 38 C9 /r   SHA1MSG1 Vdq,Wdq
NP 0F 38 CA /r   SHA1MSG2 Vdq,Wdq
NP 0F 38 CB /r   SHA256RNDS2 Vdq,Wdq
NP 0F 38 CC /r   SHA256MSG1 Vdq,Wdq
NP 0F 38 CD /r   SHA256MSG2 Vdq,Wdq
NP 0F 3A CC /r   SHA1RNDS4 Vdq,Wdq,Ib
`;
