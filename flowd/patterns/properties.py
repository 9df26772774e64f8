"""The names of Unicode properties: which ones Ruby 3.3 knows, and which of them the reference engine knows too.

Both engines carry their own tables: Ruby 3.3 those of Unicode 15.0, Oniguruma 6.9.8 those of 14.0. They agree on every
character that was assigned by then; a property that only one of them has is an error, never a guess.
"""

from __future__ import annotations

from functools import cache

_RUBY_ONLY_PREFIXES = ("age=", "graphemeclusterbreak=")
_RUBY_ONLY = """
    inarabicextendedc incjkunifiedideographsextensionh incyrillicextendedd indevanagariextendeda inkaktoviknumerals
    inkawi innagmundari kawi nagm nagmundari
"""

_SHARED = """
    adlam adlm aghb ahex ahom alnum alpha alphabetic anatolianhieroglyphs any arab arabic armenian armi armn ascii
    asciihexdigit assigned avestan avst bali balinese bamu bamum bass bassavah batak batk beng bengali bhaiksuki bhks
    bidic bidicontrol blank bopo bopomofo brah brahmi brai braille bugi buginese buhd buhid c cakm canadianaboriginal
    cans cari carian cased casedletter caseignorable caucasianalbanian cc cf chakma cham changeswhencasefolded
    changeswhencasemapped changeswhenlowercased changeswhentitlecased changeswhenuppercased cher cherokee chorasmian
    chrs ci closepunctuation cn cntrl co combiningmark common connectorpunctuation control copt coptic cpmn cprt cs
    cuneiform currencysymbol cwcf cwcm cwl cwt cwu cypriot cyprominoan cyrillic cyrl dash dashpunctuation decimalnumber
    defaultignorablecodepoint dep deprecated deseret deva devanagari di dia diacritic diak digit divesakuru dogr dogra
    dsrt dupl duployan ebase ecomp egyp egyptianhieroglyphs elba elbasan elym elymaic emod emoji emojicomponent
    emojimodifier emojimodifierbase emojipresentation enclosingmark epres ethi ethiopic ext extendedpictographic
    extender extpict finalpunctuation format geor georgian glag glagolitic gong gonm goth gothic gran grantha graph
    graphemebase graphemeextend graphemelink grbase greek grek grext grlink gujarati gujr gunjalagondi gurmukhi guru han
    hang hangul hani hanifirohingya hano hanunoo hatr hatran hebr hebrew hex hexdigit hira hiragana hluw hmng hmnp hung
    hyphen idc idcontinue ideo ideographic ids idsb idsbinaryoperator idst idstart idstrinaryoperator imperialaramaic
    inadlam inaegeannumbers inahom inalchemicalsymbols inalphabeticpresentationforms inanatolianhieroglyphs
    inancientgreekmusicalnotation inancientgreeknumbers inancientsymbols inarabic inarabicextendeda inarabicextendedb
    inarabicmathematicalalphabeticsymbols inarabicpresentationformsa inarabicpresentationformsb inarabicsupplement
    inarmenian inarrows inavestan inbalinese inbamum inbamumsupplement inbasiclatin inbassavah inbatak inbengali
    inbhaiksuki inblockelements inbopomofo inbopomofoextended inboxdrawing inbrahmi inbraillepatterns inbuginese inbuhid
    inbyzantinemusicalsymbols incarian incaucasianalbanian inchakma incham incherokee incherokeesupplement
    inchesssymbols inchorasmian incjkcompatibility incjkcompatibilityforms incjkcompatibilityideographs
    incjkcompatibilityideographssupplement incjkradicalssupplement incjkstrokes incjksymbolsandpunctuation
    incjkunifiedideographs incjkunifiedideographsextensiona incjkunifiedideographsextensionb
    incjkunifiedideographsextensionc incjkunifiedideographsextensiond incjkunifiedideographsextensione
    incjkunifiedideographsextensionf incjkunifiedideographsextensiong incombiningdiacriticalmarks
    incombiningdiacriticalmarksextended incombiningdiacriticalmarksforsymbols incombiningdiacriticalmarkssupplement
    incombininghalfmarks incommonindicnumberforms incontrolpictures incoptic incopticepactnumbers incountingrodnumerals
    incuneiform incuneiformnumbersandpunctuation incurrencysymbols incypriotsyllabary incyprominoan incyrillic
    incyrillicextendeda incyrillicextendedb incyrillicextendedc incyrillicsupplement indeseret indevanagari
    indevanagariextended indingbats indivesakuru indogra indominotiles induployan inearlydynasticcuneiform
    inegyptianhieroglyphformatcontrols inegyptianhieroglyphs inelbasan inelymaic inemoticons inenclosedalphanumerics
    inenclosedalphanumericsupplement inenclosedcjklettersandmonths inenclosedideographicsupplement inethiopic
    inethiopicextended inethiopicextendeda inethiopicextendedb inethiopicsupplement ingeneralpunctuation
    ingeometricshapes ingeometricshapesextended ingeorgian ingeorgianextended ingeorgiansupplement inglagolitic
    inglagoliticsupplement ingothic ingrantha ingreekandcoptic ingreekextended ingujarati ingunjalagondi ingurmukhi
    inhalfwidthandfullwidthforms inhangulcompatibilityjamo inhanguljamo inhanguljamoextendeda inhanguljamoextendedb
    inhangulsyllables inhanifirohingya inhanunoo inhatran inhebrew inherited inhighprivateusesurrogates inhighsurrogates
    inhiragana inideographicdescriptioncharacters inideographicsymbolsandpunctuation inimperialaramaic
    inindicsiyaqnumbers ininscriptionalpahlavi ininscriptionalparthian inipaextensions initialpunctuation injavanese
    inkaithi inkanaextendeda inkanaextendedb inkanasupplement inkanbun inkangxiradicals inkannada inkatakana
    inkatakanaphoneticextensions inkayahli inkharoshthi inkhitansmallscript inkhmer inkhmersymbols inkhojki inkhudawadi
    inlao inlatin1supplement inlatinextendeda inlatinextendedadditional inlatinextendedb inlatinextendedc
    inlatinextendedd inlatinextendede inlatinextendedf inlatinextendedg inlepcha inletterlikesymbols inlimbu inlineara
    inlinearbideograms inlinearbsyllabary inlisu inlisusupplement inlowsurrogates inlycian inlydian inmahajani
    inmahjongtiles inmakasar inmalayalam inmandaic inmanichaean inmarchen inmasaramgondi
    inmathematicalalphanumericsymbols inmathematicaloperators inmayannumerals inmedefaidrin inmeeteimayek
    inmeeteimayekextensions inmendekikakui inmeroiticcursive inmeroitichieroglyphs inmiao
    inmiscellaneousmathematicalsymbolsa inmiscellaneousmathematicalsymbolsb inmiscellaneoussymbols
    inmiscellaneoussymbolsandarrows inmiscellaneoussymbolsandpictographs inmiscellaneoustechnical inmodi
    inmodifiertoneletters inmongolian inmongoliansupplement inmro inmultani inmusicalsymbols inmyanmar
    inmyanmarextendeda inmyanmarextendedb innabataean innandinagari innewa innewtailue innko innoblock innumberforms
    innushu innyiakengpuachuehmong inogham inolchiki inoldhungarian inolditalic inoldnortharabian inoldpermic
    inoldpersian inoldsogdian inoldsoutharabian inoldturkic inolduyghur inopticalcharacterrecognition inoriya
    inornamentaldingbats inosage inosmanya inottomansiyaqnumbers inpahawhhmong inpalmyrene inpaucinhau inphagspa
    inphaistosdisc inphoenician inphoneticextensions inphoneticextensionssupplement inplayingcards inprivateusearea
    inpsalterpahlavi inrejang inruminumeralsymbols inrunic insamaritan insaurashtra inscriptionalpahlavi
    inscriptionalparthian insharada inshavian inshorthandformatcontrols insiddham insinhala insinhalaarchaicnumbers
    insmallformvariants insmallkanaextension insogdian insorasompeng insoyombo inspacingmodifierletters inspecials
    insundanese insundanesesupplement insuperscriptsandsubscripts insupplementalarrowsa insupplementalarrowsb
    insupplementalarrowsc insupplementalmathematicaloperators insupplementalpunctuation
    insupplementalsymbolsandpictographs insupplementaryprivateuseareaa insupplementaryprivateuseareab
    insuttonsignwriting insylotinagri insymbolsandpictographsextendeda insymbolsforlegacycomputing insyriac
    insyriacsupplement intagalog intagbanwa intags intaile intaitham intaiviet intaixuanjingsymbols intakri intamil
    intamilsupplement intangsa intangut intangutcomponents intangutsupplement intelugu inthaana inthai intibetan
    intifinagh intirhuta intoto intransportandmapsymbols inugaritic inunifiedcanadianaboriginalsyllabics
    inunifiedcanadianaboriginalsyllabicsextended inunifiedcanadianaboriginalsyllabicsextendeda invai
    invariationselectors invariationselectorssupplement invedicextensions inverticalforms invithkuqi inwancho
    inwarangciti inyezidi inyijinghexagramsymbols inyiradicals inyisyllables inzanabazarsquare inznamennymusicalnotation
    ital java javanese joinc joincontrol kaithi kali kana kannada katakana kayahli khar kharoshthi khitansmallscript
    khmer khmr khoj khojki khudawadi kits knda kthi l lana lao laoo latin latn lc lepc lepcha letter letternumber limb
    limbu lina linb lineara linearb lineseparator lisu ll lm lo loe logicalorderexception lower lowercase
    lowercaseletter lt lu lyci lycian lydi lydian m mahajani mahj maka makasar malayalam mand mandaic mani manichaean
    marc marchen mark masaramgondi math mathsymbol mc me medefaidrin medf meeteimayek mend mendekikakui merc mero
    meroiticcursive meroitichieroglyphs miao mlym mn modi modifierletter modifiersymbol mong mongolian mro mroo mtei
    mult multani myanmar mymr n nabataean nand nandinagari narb nbat nchar nd newa newtailue nko nkoo nl no
    noncharactercodepoint nonspacingmark nshu number nushu nyiakengpuachuehmong oalpha odi ogam ogham ogrext oidc oids
    olchiki olck oldhungarian olditalic oldnortharabian oldpermic oldpersian oldsogdian oldsoutharabian oldturkic
    olduyghur olower omath openpunctuation oriya orkh orya osage osge osma osmanya other otheralphabetic
    otherdefaultignorablecodepoint othergraphemeextend otheridcontinue otheridstart otherletter otherlowercase othermath
    othernumber otherpunctuation othersymbol otheruppercase ougr oupper p pahawhhmong palm palmyrene paragraphseparator
    patsyn patternsyntax patternwhitespace patws pauc paucinhau pc pcm pd pe perm pf phag phagspa phli phlp phnx
    phoenician pi plrd po prependedconcatenationmark print privateuse prti ps psalterpahlavi punct punctuation qaac qaai
    qmark quotationmark radical regionalindicator rejang ri rjng rohg runic runr s samaritan samr sarb saur saurashtra
    sc sd sentenceterminal separator sgnw sharada shavian shaw shrd sidd siddham signwriting sind sinh sinhala sk sm so
    softdotted sogd sogdian sogo sora sorasompeng soyo soyombo space spaceseparator spacingmark sterm sund sundanese
    surrogate sylo sylotinagri symbol syrc syriac tagalog tagb tagbanwa taile taitham taiviet takr takri tale talu tamil
    taml tang tangsa tangut tavt telu telugu term terminalpunctuation tfng tglg thaa thaana thai tibetan tibt tifinagh
    tirh tirhuta titlecaseletter tnsa toto ugar ugaritic uideo unassigned unifiedideograph unknown upper uppercase
    uppercaseletter vai vaii variationselector vith vithkuqi vs wancho wara warangciti wcho whitespace word wspace
    xdigit xidc xidcontinue xids xidstart xpeo xsux yezi yezidi yi yiii z zanabazarsquare zanb zinh zl zp zs zyyy zzzz
"""


@cache
def _shared() -> frozenset[str]:
    return frozenset(_SHARED.split())


def normalized_name(name: str) -> str:
    """The name as tables have it: case, blanks, `-` and `_` do not matter."""
    return "".join(char for char in name if char not in " -_").lower() if name.isascii() else name


def is_property(name: str) -> bool:
    """Whether Ruby and the reference engine both know the property (by its normalized name)."""
    return name in _shared() or name == "xposixpunct"


def is_ruby_only(name: str) -> bool:
    """Whether Ruby knows the property and the reference engine does not."""
    return name in _RUBY_ONLY.split() or name.startswith(_RUBY_ONLY_PREFIXES)
