// Texts to try the tools on.
const topics = {
  en: "Bread begins with flour, water and time. The dough rests until it has doubled. A hot oven gives it a crust. The moon turns around the earth in a month. Its light is that of the sun. Tides follow it along every coast. A bicycle needs little care. Oil the chain after rain. Pump the tyres once a week.",
  ko: "빵은 밀가루와 물과 시간으로 시작합니다. 반죽이 두 배가 될 때까지 둡니다. 뜨거운 오븐에서 껍질이 생깁니다. 달은 한 달에 한 번 지구를 돕니다. 달빛은 햇빛이 비친 것입니다. 바닷가마다 밀물과 썰물이 달을 따릅니다. 자전거는 손이 많이 가지 않습니다. 비 온 뒤에는 체인에 기름을 칩니다. 타이어에는 일주일에 한 번 바람을 넣습니다.",
};
const conversation = {
  en: "system: You answer briefly.\nuser: When do you open?\nassistant: At nine in the morning, every day but Sunday.\nuser: And do you deliver?\nassistant: Yes, within three days.\nuser: What does it cost?",
  ko: "system: 짧게 답합니다.\nuser: 몇 시에 여나요?\nassistant: 일요일만 빼고 아침 아홉 시에 엽니다.\nuser: 배송도 되나요?\nassistant: 네, 사흘 안에 도착합니다.\nuser: 배송비는 얼마인가요?",
};
const lines = {
  en: "The weather is lovely today\n오늘은 날씨가 참 좋네요\nThe printer is out of paper",
  ko: "오늘은 날씨가 참 좋네요\nThe weather is lovely today\n프린터에 종이가 없습니다",
};

export const samples = { topics, conversation, lines };
